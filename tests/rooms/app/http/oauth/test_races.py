"""What is used once is used once: 32 at the same moment, on a server of two processes, have one winner.

`RACE_ROUNDS=1000` plays a thousand rounds of each.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from isthmus.auth.oauth.clients import CODE, DEVICE, REFRESH, ClientWish
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import Key, Registered, text
from tests.rooms.app.http.oauth.test_other_grants import decide

ROUNDS = int(os.environ.get("RACE_ROUNDS", "2"))
CALLERS = 32
BACK = "https://app.test/back"
WEB = ClientWish(name="Web", scopes=("offline_access", "sales:read"), redirects=(BACK,), grants=(CODE, REFRESH, DEVICE))


def at_once(call: Callable[[], Answered]) -> list[Answered]:
    """Do one thing 32 times at the same moment."""
    start = Barrier(CALLERS)

    def begin() -> Answered:
        start.wait()
        return call()

    with ThreadPoolExecutor(CALLERS) as pool:
        return [each.result() for each in [pool.submit(begin) for _ in range(CALLERS)]]


def winners(answers: list[Answered]) -> list[Answered]:
    """Return those who won; everybody else must have been refused in words."""
    assert {each.status for each in answers} <= {200, 303, 400}, [each.body for each in answers]
    return [each for each in answers if each.status in {200, 303}]


@pytest.fixture
def web(house: House) -> Registered:
    """A program with every grant that a race is about."""
    return house.register(WEB)


def test_a_code_has_one_winner_of_32(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    for _ in range(ROUNDS):
        code = web.consent(cookie)["code"]
        assert len(winners(at_once(lambda: web.redeem(code)))) == 1  # noqa: B023 - it ends within its round.


def test_a_refresh_token_that_nothing_binds_has_one_winner_of_32(house: House) -> None:
    public = house.register(
        ClientWish(name="P", method="none", scopes=WEB.scopes, redirects=(BACK,), grants=(CODE, REFRESH))
    )
    cookie = house.sign_in("sales.viewer")
    for _ in range(ROUNDS):
        token = text(public.tokens(cookie)["refresh_token"])
        answers = at_once(lambda: public.token(grant_type="refresh_token", refresh_token=token))  # noqa: B023 - as above.
        assert len(winners(answers)) == 1


def test_a_refresh_token_of_a_proven_program_has_one_successor_for_all_32(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    for _ in range(ROUNDS):
        token = text(web.tokens(cookie)["refresh_token"])
        answers = at_once(lambda: web.token(grant_type="refresh_token", refresh_token=token))  # noqa: B023 - as above.
        assert len({text(each.json["refresh_token"]) for each in winners(answers)}) == 1


def test_a_pushed_request_has_one_winner_of_32(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    for _ in range(ROUNDS):
        uri = text(web.post("/oauth/par", web.asking()).json["request_uri"])
        by_uri = {"client_id": web.id, "request_uri": uri}
        assert len(winners(at_once(lambda: web.authorize(cookie, by_uri)))) == 1  # noqa: B023 - as above.


def test_a_device_code_has_one_winner_of_32(house: House, web: Registered) -> None:
    cookie = house.sign_in("sales.viewer")
    for _ in range(ROUNDS):
        begun = web.post("/oauth/device", {"scope": "sales:read"}).json
        assert decide(web, cookie, text(begun["user_code"]), "allow").status == 200
        code = text(begun["device_code"])
        answers = at_once(lambda: web.token(grant_type=DEVICE, device_code=code))  # noqa: B023 - as above.
        assert len(winners(answers)) == 1


def test_a_proof_has_one_winner_of_32(house: House) -> None:
    machine = house.register(ClientWish(name="M", grants=("client_credentials",), scopes=("sales:read",)))
    for _ in range(ROUNDS):
        headers = {"dpop": Key().proof("POST", f"{house.issuer}/oauth/token")}
        answers = at_once(lambda: machine.token(headers, grant_type="client_credentials"))  # noqa: B023 - as above.
        assert len(winners(answers)) == 1


def test_what_a_killed_process_had_used_but_not_kept_is_used_once_by_another(house: House, web: Registered) -> None:
    uri = text(web.post("/oauth/par", web.asking()).json["request_uri"])
    command = [sys.executable, "-m", "tests.rooms.app.http.oauth.killed", str(house.workspace), str(web.client.id), uri]
    environment = {**os.environ, "ISTHMUS_DATA_DIR": str(house.site.settings.data_dir)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"used\n"
        process.kill()
    cookie = house.sign_in("sales.viewer")
    by_uri = {"client_id": web.id, "request_uri": uri}
    assert len(winners(at_once(lambda: web.authorize(cookie, by_uri)))) == 1
