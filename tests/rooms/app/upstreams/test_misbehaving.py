"""Services that are slow, break off, fail or are ill: callers are told in time, and never a half as a whole."""

import http.client
import time
from collections.abc import Callable

import pytest

from isthmus.kernel.marks import Json
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, free_port
from tests.rooms.app.upstreams.service import Service

Add = Callable[..., str]


def test_a_service_that_does_not_answer_is_given_up_in_time(owner: Caller, register: Add) -> None:
    path = register(first_byte_ms=200, connect_ms=200, retries=0)
    began = time.monotonic()
    answer = owner.get(f"{path}/late?s=5")
    assert (answer.status, answer.code) == (504, "upstream-late")
    assert time.monotonic() - began < 2


def test_a_service_that_stops_in_the_middle_is_given_up_in_time(owner: Caller, register: Add) -> None:
    path = register(idle_ms=300)
    began = time.monotonic()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        owner.get(f"{path}/drip?n=1&s=5")
    assert time.monotonic() - began < 3


def test_nobody_listening_and_a_reset_are_told_as_such(owner: Caller, register: Add) -> None:
    path = register("reset", retries=0)
    assert (owner.get(f"{path}/reset").status, owner.get(f"{path}/reset").code) == (502, "upstream-failed")
    nobody: Json = {"name": "nobody", "url": f"http://127.0.0.1:{free_port()}"}
    assert owner.post("/api/v1/upstreams", nobody).status == 201
    assert owner.get("/up/nobody/").code == "upstream-failed"


@pytest.mark.parametrize("kind", ["half", "half-chunked"])
def test_half_an_answer_is_never_told_as_a_whole_one(owner: Caller, register: Add, kind: str) -> None:
    path = register()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        owner.get(f"{path}/{kind}")


def test_a_call_that_changes_nothing_is_repeated_and_one_that_does_is_not(
    owner: Caller, service: Service, register: Add
) -> None:
    path = register(retries=1)
    for _ in range(5):
        assert owner.get(f"{path}/echo").status == 200
    service.wrong = 1
    assert owner.get(f"{path}/flaky").status == 200
    assert service.calls["flaky"] == 2
    service.wrong = 1
    assert owner.post(f"{path}/flaky", {"a": 1}).status == 503
    assert service.calls["flaky"] == 3


def test_repeating_costs_a_failing_service_a_fifth_more_at_most(owner: Caller, service: Service, register: Add) -> None:
    path, calls = register(retries=3), 60
    for number in range(calls):
        service.wrong = int(number % 3 == 0)
        owner.get(f"{path}/flaky")
    assert calls < service.calls["flaky"] <= calls * 1.2


def test_a_service_that_fails_is_left_alone_and_tried_again(owner: Caller, service: Service, register: Add) -> None:
    path = register(retries=0)
    statuses = [owner.get(f"{path}/status/500").status for _ in range(8)]
    assert statuses == [500] * 5 + [503] * 3
    refused = owner.get(f"{path}/echo")
    assert (refused.code, service.calls["echo"]) == ("upstream-away", 0)
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    shown = owner.get("/api/v1/upstreams").rows
    assert [each["circuit"] for each in shown] == ["open"]
    over = time.monotonic() + 15
    while owner.get(f"{path}/echo").status != 200:
        assert time.monotonic() < over
        time.sleep(0.2)
    assert owner.get(f"{path}/echo").status == 200
    assert owner.get("/api/v1/upstreams").rows[0]["circuit"] == "closed"


def test_a_service_that_says_it_is_ill_gets_no_calls_until_it_is_well(
    owner: Caller, service: Service, register: Add
) -> None:
    path = register(health_path="/health", health_s=1)

    def wait_for(health: str) -> None:
        over = time.monotonic() + 15
        while owner.get("/api/v1/upstreams").rows[0]["health"] != health:
            assert time.monotonic() < over
            time.sleep(0.1)

    wait_for("well")
    service.ill = True
    wait_for("ill")
    assert owner.get(f"{path}/echo").code == "upstream-away"
    service.ill = False
    wait_for("well")
    assert owner.get(f"{path}/echo").status == 200


def test_a_caller_who_gives_up_waiting_ends_the_wait(
    site: Site, workspace: int, service: Service, register: Add
) -> None:
    path, key = register(), site.key(workspace, "owner")
    for _ in range(8):
        line = http.client.HTTPConnection("127.0.0.1", site.settings.port, timeout=5)
        line.request("GET", f"{path}/late?s=30", headers={"authorization": f"Bearer {key}"})
        time.sleep(0.05)
        line.close()
    assert service.calls["late"] == 8
    assert site.caller(key).get(f"{path}/echo").status == 200, "callers who went away say nothing of the service"
