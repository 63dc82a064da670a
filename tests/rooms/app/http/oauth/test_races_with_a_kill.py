"""What programs use once is used once by two processes with 32 tries, also while one of them is killed."""

import re
import time
from collections.abc import Callable, Mapping

import pytest

from isthmus.auth.oauth.clients import CODE, DEVICE, MACHINE, REFRESH, ClientWish
from tests.rooms.app.http.caller import Answered
from tests.rooms.app.http.oauth.conftest import House
from tests.rooms.app.http.oauth.program import FORM, Key, Registered, text
from tests.rooms.app.http.oauth.test_other_grants import decide
from tests.rooms.app.http.oauth.test_programs import asserted, with_keys
from tests.rooms.app.http.rivals import CALLERS, ROUNDS, Calling, Rivals, killed_in, one_winner, told

BACK = "https://app.test/back"
OFFLINE = "offline_access sales:read"
WEB = ClientWish(name="Web", scopes=(*OFFLINE.split(),), redirects=(BACK,), grants=(CODE, REFRESH, DEVICE))
_CSRF = re.compile(rb'name="csrf" value="([0-9a-f]+)"')
Count = Callable[[str, int], int]


class Kept(Registered):
    """A program whose next request is kept, and not sent."""

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answered:
        """Answer the request itself."""
        return Answered(0, {"method": method, "path": path, **(headers or {})}, body or b"")


def meant(program: Registered, ask: Callable[[Registered], Answered]) -> Calling:
    """Return the request that a program would send."""
    kept = ask(Kept(program.issuer, program.client, program.secret, program.verifier))
    headers = dict(kept.headers)
    return Calling(headers.pop("method"), headers.pop("path"), kept.body, headers)


def given(answer: Answered) -> bool:
    """Tell whether somebody won."""
    return answer.status in {200, 303}


@pytest.fixture
def web(house: House) -> Registered:
    """A program with every grant that a race is about."""
    return house.register(WEB)


@pytest.fixture
def cookie(house: House) -> str:
    """Somebody who is signed in."""
    return house.sign_in("sales.viewer")


def test_a_code(house: House, web: Registered, cookie: str, two: Rivals, counted: Count) -> None:
    def thing() -> Calling:
        code = web.consent(cookie)["code"]
        return meant(web, lambda program: program.redeem(code))

    one_winner(two, thing=thing, won=given, traces=lambda: counted("oauth_refresh where true", house.workspace))


def test_a_refresh_token_that_nothing_binds(house: House, cookie: str, two: Rivals, counted: Count) -> None:
    public = house.register(
        ClientWish(name="P", method="none", scopes=WEB.scopes, redirects=(BACK,), grants=(CODE, REFRESH))
    )

    def thing() -> Calling:
        token = text(public.tokens(cookie)["refresh_token"])
        return meant(public, lambda program: program.token(grant_type="refresh_token", refresh_token=token))

    one_winner(two, thing=thing, won=given, traces=lambda: counted("oauth_refresh where true", house.workspace))


def test_a_refresh_token_of_a_proven_program(
    house: House, web: Registered, cookie: str, two: Rivals, counted: Count
) -> None:
    """Everybody who asks in time gets the same successor, and there is no other."""
    began = time.monotonic()
    for turn in range(ROUNDS):
        token = text(web.tokens(cookie)["refresh_token"])
        before = counted("oauth_refresh where true", house.workspace)
        use = meant(web, lambda program: program.token(grant_type="refresh_token", refresh_token=token))  # noqa: B023 - it ends within its round.
        answers = two.race(use, kill=killed_in(turn))
        assert {each.status for each in answers} == {200}, (turn, [each.body for each in answers])
        assert len({text(each.json["refresh_token"]) for each in answers}) == 1
        assert counted("oauth_refresh where true", house.workspace) - before == 1
        assert len(answers) == CALLERS or killed_in(turn)
        told(turn, "one successor in each", since=began)


def test_a_pushed_request(house: House, web: Registered, cookie: str, two: Rivals, counted: Count) -> None:
    def thing() -> Calling:
        uri = text(web.post("/oauth/par", web.asking()).json["request_uri"])
        return meant(web, lambda program: program.authorize(cookie, {"client_id": web.id, "request_uri": uri}))

    shown = "oauth_request where kind = 'shown'"
    one_winner(two, thing=thing, won=given, traces=lambda: counted(shown, house.workspace))


def test_a_device_code(house: House, web: Registered, cookie: str, two: Rivals, counted: Count) -> None:
    def thing() -> Calling:
        begun = web.post("/oauth/device", {"scope": OFFLINE}).json
        assert decide(web, cookie, text(begun["user_code"]), "allow").status == 200
        code = text(begun["device_code"])
        return meant(web, lambda program: program.token(grant_type=DEVICE, device_code=code))

    one_winner(two, thing=thing, won=given, traces=lambda: counted("oauth_refresh where true", house.workspace))


def test_the_approval_of_a_program(house: House, web: Registered, cookie: str, two: Rivals, counted: Count) -> None:
    def thing() -> Calling:
        page = web.authorize(cookie, web.asking(prompt="consent")).headers["location"]
        csrf = _CSRF.search(web.call("GET", page, headers={"cookie": cookie}).body)
        assert csrf is not None
        body = b"choice=allow&csrf=" + csrf[1]
        return Calling("POST", page, body, {"cookie": cookie, "content-type": FORM})

    one_winner(two, thing=thing, won=given, traces=lambda: counted("oauth_code where true", house.workspace))


def test_the_approval_of_a_device(house: House, web: Registered, two: Rivals, counted: Count) -> None:
    people = house.sign_in_many(ROUNDS, "sales.viewer")

    def thing() -> Calling:
        own = people.pop()
        csrf = _CSRF.search(web.call("GET", "/device", headers={"cookie": own}).body)
        assert csrf is not None
        typed = text(web.post("/oauth/device", {"scope": OFFLINE}).json["user_code"])
        body = b"choice=allow&csrf=" + csrf[1] + b"&user_code=" + typed.encode()
        return Calling("POST", "/device", body, {"cookie": own, "content-type": FORM})

    device = "oauth_grant where kind = 'device'"
    one_winner(
        two,
        thing=thing,
        won=lambda answer: b"The device is let in" in answer.body,
        traces=lambda: counted(device, house.workspace),
    )


def test_a_proof(house: House, two: Rivals, counted: Count) -> None:
    machine = house.register(ClientWish(name="M", grants=(MACHINE,), scopes=("sales:read",)))

    def thing() -> Calling:
        headers = {"dpop": Key().proof("POST", f"{house.issuer}/oauth/token")}
        return meant(machine, lambda program: program.token(headers, grant_type=MACHINE))

    seen = "oauth_seen where kind = 'dpop'"
    one_winner(two, thing=thing, won=given, traces=lambda: counted(seen, house.workspace))


def test_a_signed_assertion(house: House, two: Rivals, counted: Count) -> None:
    signer, key = with_keys(house)

    def thing() -> Calling:
        fields = asserted(signer, key)
        return meant(signer, lambda program: program.post("/oauth/token", fields))

    seen = "oauth_seen where kind = 'assertion'"
    one_winner(two, thing=thing, won=given, traces=lambda: counted(seen, house.workspace))
