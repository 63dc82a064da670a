"""Each detector finds what it is there for, and is silent where something alike is harmless."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import pytest
from msgspec import Struct

from isthmus.auth.principal import Principal
from isthmus.gateway.decide import Asked
from isthmus.gateway.errors import FresherTokenNeeded, StepUpNeeded
from isthmus.gateway.routes import Route
from isthmus.gateway.threats.ladder import (
    DETECTORS,
    Detector,
    Finding,
    Mode,
    SuspiciousText,
    Threat,
    ThreatBlocked,
    ThreatSlowed,
)
from isthmus.gateway.threats.profile import Profile
from isthmus.gateway.threats.watch import Honey, Threats
from isthmus.kernel.errors import IsthmusError
from tests.conftest import NOW
from tests.factories.traffic import BOARDS, PUT, SECRETS, SIGN_IN, THING, THINGS, WORKSPACE

KEY = Principal(workspace=WORKSPACE, kind="key", id=UUID(int=1), name="", permissions=frozenset())
SUBJECT = f"key:{KEY.id}"
HOME, AWAY, AGENT = "192.0.2.7", "198.51.100.9", "acme-sync/2.1"


class Body(Struct):
    """A body with one text."""

    text: str


class Street:
    """A stage whose caller is known for three days, and time that passes between calls."""

    def __init__(self, mode: Mode = "observe", *, principal: Principal = KEY, known: bool = True) -> None:
        self.stage = Threats(modes=dict.fromkeys(DETECTORS, mode))
        self.principal, self.now = principal, NOW
        profile = Profile(first_seen=NOW - timedelta(days=3), last_seen=NOW, calls=1000)
        profile.met("192.0.2.0/24", "acme-sync")
        if known:
            self.stage.profiles[WORKSPACE, f"{principal.kind}:{principal.id}"] = profile

    def call(  # noqa: PLR0913 - a call has so many sides.
        self,
        route: Route = THINGS,
        path: str = "",
        *,
        status: int = 200,
        after: float = 0.1,
        client: str = HOME,
        agent: str = AGENT,
        query: bytes = b"",
        nobody: bool = False,
        authorization: str | None = None,
        body: Body | None = None,
    ) -> int:
        """Make one call and return how it ended."""
        self.now += timedelta(seconds=after)
        asked = Asked(
            route=route,
            now=self.now,
            path=path or route.path,
            query=query,
            request_id="req_1",
            client=client,
            agent=agent,
            authorization=authorization,
        )
        try:
            self.stage.door(asked)
            asked.principal = None if nobody else self.principal
            self.stage.admit(asked)
            if asked.inspect is not None and body is not None:
                asked.inspect(asked, body)
        except IsthmusError as error:
            status = error.status
        self.stage.ended(asked, status=status, micros=1)
        return status

    def found(self) -> set[Detector]:
        """Return the detectors that found something."""
        return {detector for _, detector, _ in self.stage.pending}


def things(count: int, *, begin: int = 0) -> Iterable[str]:
    return (f"/api/v1/things/thg_{number:x}z" for number in range(begin, begin + count))


def test_guessed_credentials_of_one_network_are_stuffing_and_shut_it_out_before_any_proof() -> None:
    street = Street("enforce")
    for number in range(12):
        street.call(status=401, nobody=True, client=AWAY, authorization=f"Bearer guess-{number}")
    assert street.found() == {"stuffing"}
    with pytest.raises(ThreatBlocked):
        street.stage.door(Asked(route=THINGS, now=street.now, client="198.51.100.200"))
    street.stage.door(Asked(route=THINGS, now=street.now, client=HOME))
    street.stage.door(Asked(route=THINGS, now=street.now + timedelta(minutes=16), client=AWAY))


def test_one_wrong_credential_again_and_again_is_no_stuffing() -> None:
    street = Street()
    for _ in range(300):
        street.call(status=401, nobody=True, client=AWAY, authorization="Bearer expired", after=5)
    assert street.found() == set()


def test_passwords_mistyped_where_many_people_sign_in_are_no_stuffing() -> None:
    street = Street()
    for number in range(30):
        principal = Principal(workspace=7, kind="session", id=UUID(int=50 + number), name="", permissions=frozenset())
        street.principal = principal
        street.call(BOARDS[0], client=AWAY)
    for number in range(30):
        street.call(status=401, nobody=True, client=AWAY, authorization=f"Bearer typo-{number}")
    assert street.found() == set()


def test_wrong_proofs_in_bodies_count_as_those_in_headers() -> None:
    street = Street()
    for number in range(12):
        street.call(SIGN_IN, status=401, nobody=True, client=AWAY, body=Body(f"password {number}"))
    assert street.found() == {"stuffing"}


def test_a_network_behind_which_everybody_stands_is_never_shut_out() -> None:
    street = Street("enforce")
    for number in range(40):
        street.call(status=401, nobody=True, client="127.0.0.1", authorization=f"Bearer guess-{number}")
    assert street.found() == {"stuffing"}
    street.stage.door(Asked(route=THINGS, now=street.now, client="127.0.0.1"))


def test_a_key_in_strange_hands_is_leaked() -> None:
    street = Street()
    for _ in range(3):
        street.call(client=AWAY, agent="curl/8.5")
    assert street.found() == {"leakage"}


def test_a_key_used_in_two_places_at_once_is_leaked() -> None:
    street = Street()
    for _ in range(12):
        street.call(client=HOME)
        street.call(client=AWAY)
    assert street.found() == {"leakage"}


def test_a_key_that_rested_for_a_month_and_comes_from_elsewhere_is_leaked() -> None:
    street = Street()
    street.call()
    street.call(client=AWAY, after=40 * 86_400)
    street.call(client=AWAY)
    street.call(client=AWAY)
    assert street.found() == {"leakage"}


def test_a_machine_that_moved_a_newer_program_and_a_fleet_are_no_leak() -> None:
    moved = Street()
    moved.call()
    for number in range(400):
        moved.call(client=AWAY, after=1200 if number == 0 else 1)
    newer = Street()
    for _ in range(50):
        newer.call(agent="acme-sync/3.0", after=1)
    fleet = Street()
    profile = fleet.stage.profiles[WORKSPACE, SUBJECT]
    for number in range(8):
        profile.met(f"203.0.{number}.0/24", "acme-sync")
    for number in range(60):
        fleet.call(client=f"198.18.{number % 9}.1", after=1)
    assert moved.found() | newer.found() | fleet.found() == set()


def test_people_on_the_move_are_no_leak() -> None:
    person = Principal(workspace=WORKSPACE, kind="token", id=UUID(int=9), name="", permissions=frozenset())
    street = Street(principal=person)
    for number in range(200):
        street.call(client=f"198.18.{number // 20}.1", after=1)
    assert street.found() == set()


def test_many_different_things_that_are_missing_are_enumeration() -> None:
    street = Street()
    for path in things(15):
        street.call(THING, path, status=404)
    assert street.found() == {"enumeration"}


def test_slow_enumeration_is_found_too() -> None:
    street = Street()
    for path in things(15):
        street.call(THING, path, status=404, after=30)
    assert street.found() == {"enumeration"}


def test_ids_that_count_up_are_enumeration_unless_that_is_usual() -> None:
    street, usual = Street(), Street()
    usual.stage.profiles[WORKSPACE, SUBJECT].peaks["run"] = [50.0] * 24
    for number in range(18):
        street.call(THING, f"/api/v1/things/{number + 1}")
        usual.call(THING, f"/api/v1/things/{number + 1}")
    assert street.found() == {"enumeration"}
    assert usual.found() == set()


def test_one_missing_thing_polled_and_few_misses_among_many_reads_are_no_enumeration() -> None:
    street = Street()
    for _ in range(60):
        street.call(THING, "/api/v1/things/thg_later", status=404, after=2)
    mixed = Street()
    for number, path in enumerate(things(300)):
        mixed.call(THING, path, status=404 if number % 10 == 0 else 200, after=2)
    assert "enumeration" not in street.found() | mixed.found()


def test_far_more_different_things_than_usual_are_scraping() -> None:
    street = Street()
    for number in range(20):
        street.call(query=f"cursor={number}".encode())
    assert street.found() == {"scraping"}


def test_an_export_that_is_usual_at_its_hour_is_no_scraping_and_no_flood() -> None:
    street = Street()
    profile = street.stage.profiles[WORKSPACE, SUBJECT]
    for name in ("things", "things in 10 min", "GET /api/v1/things"):
        profile.peaks[name] = [0.0] * 24
        profile.peaks[name][NOW.hour] = 3000.0 if "min" in name else 60.0
    for number in range(2000):
        street.call(query=f"cursor={number}".encode(), after=0.2)
    assert street.found() == set()


def test_the_same_pages_again_and_again_are_no_scraping() -> None:
    street = Street()
    for number in range(500):
        street.call(BOARDS[number % 6], after=0.4)
    assert street.found() == set()


@pytest.mark.parametrize("where", ["query", "body"])
def test_a_text_that_tries_to_be_code_is_refused_where_that_is_enforced(where: str) -> None:
    street = Street("enforce")
    if where == "query":
        assert street.call(query=b"q=%27%20OR%20%271%27%3D%271") == SuspiciousText.status
    else:
        assert street.call(PUT, body=Body("<script>alert(1)</script>")) == SuspiciousText.status
    assert street.found() == {"injection"}
    evidence = repr([each.finding for each in street.stage.pending.values()])
    assert "OR" not in evidence
    assert "script" not in evidence


def test_it_is_let_through_where_it_is_only_observed_and_names_are_no_injection() -> None:
    street = Street("observe")
    assert street.call(query=b"q=%27%20OR%20%271%27%3D%271") == 200
    assert street.found() == {"injection"}
    plain = Street("enforce")
    assert plain.call(query=b"q=O%27Brien%20or%20Rock%20%27n%27%20Roll") == 200
    assert plain.call(PUT, body=Body("Don't update; delete the old one")) == 200
    assert plain.found() == set()


def test_a_route_called_far_more_than_usual_is_a_flood() -> None:
    street = Street()
    for _ in range(40):
        street.call(PUT, after=0.05)
    assert street.found() == {"volume"}


def test_calls_of_nobody_in_their_hundreds_are_a_flood_of_their_network() -> None:
    street = Street()
    for _ in range(300):
        street.call(status=401, nobody=True, client=AWAY, after=0.01)
    assert [key[1:] for key in street.stage.pending] == [("volume", "network:198.51.100.0/24")]


def test_a_burst_within_the_usual_and_one_of_a_new_caller_are_no_flood() -> None:
    street, new = Street(), Street(known=False)
    street.stage.profiles[WORKSPACE, SUBJECT].peaks[f"POST {PUT.path}"] = [30.0] * 24
    for _ in range(100):
        street.call(PUT, after=0.05)
        new.call(PUT, after=0.05)
    assert street.found() | new.found() == set()


def test_the_first_seconds_of_an_attack_do_not_teach_that_it_is_usual() -> None:
    street = Street()
    profile = street.stage.profiles[WORKSPACE, SUBJECT]
    for _ in range(39):
        street.call(PUT)
    street.call(after=20)
    assert profile.usual(f"POST {PUT.path}", NOW.hour) <= 10


def test_many_refused_routes_are_probing_and_one_that_is_always_refused_is_not() -> None:
    street, board = Street(), Street()
    for route in SECRETS[:6]:
        street.call(route, status=403)
    for _ in range(100):
        board.call(BOARDS[5], status=403, after=5)
    assert street.found() == {"probing"}
    assert board.found() == set()


def test_the_use_of_honey_blocks_at_once_and_nothing_else_does() -> None:
    street = Street()
    street.stage = Threats()
    street.stage.configure({}, {WORKSPACE: Honey(frozenset({KEY.id}), frozenset({"thg_honey"}))})
    assert street.call() == ThreatBlocked.status
    assert {key[2] for key in street.stage.pending} == {SUBJECT, "network:192.0.2.0/24"}
    other = Street(
        principal=Principal(workspace=WORKSPACE, kind="key", id=UUID(int=2), name="", permissions=frozenset())
    )
    other.stage = Threats()
    other.stage.configure({}, {WORKSPACE: Honey(frozenset({KEY.id}), frozenset({"thg_honey"}))})
    assert other.call(THING, "/api/v1/things/thg_honey2", client=AWAY) == 200
    assert other.found() == set()
    assert other.call(THING, "/api/v1/things/thg_honey", client=AWAY) == ThreatBlocked.status


def test_a_honey_key_without_the_permission_is_found_all_the_same() -> None:
    street = Street()
    street.stage = Threats()
    street.stage.configure({}, {WORKSPACE: Honey(frozenset({KEY.id}))})
    asked = Asked(route=SECRETS[0], now=NOW, client=HOME, principal=KEY)
    street.stage.ended(asked, status=403, micros=1)
    assert street.found() == {"honey"}


def test_whoever_goes_on_goes_up_the_ladder_and_is_let_go_in_time() -> None:
    street = Street("enforce")
    seen: list[str] = []
    for number in range(200):
        street.call(SECRETS[number % 12], status=403, after=1.1)
        step = street.stage.standing(WORKSPACE, SUBJECT)
        if step and (not seen or seen[-1] != step):
            seen.append(step)
    assert seen == ["tag", "slow", "block"]
    assert street.call(after=0) == ThreatBlocked.status
    assert street.call(after=86_500) == 200


def test_a_slowed_caller_gets_one_call_a_second() -> None:
    street = Street("enforce")
    for _ in range(40):
        street.call(PUT, after=0.01)
    ended = [street.call(PUT, after=0.25) for _ in range(40)]
    assert ended.count(200) == 10
    assert ended.count(ThreatSlowed.status) == 30


def test_detectors_that_are_off_say_nothing_and_others_only_watch() -> None:
    off, watching = Street("off"), Street("observe")
    for _ in range(100):
        assert off.call(PUT, after=0.01) == 200
        assert watching.call(PUT, after=0.01) == 200
    assert off.found() == set()
    assert [(each.step, each.would) for each in watching.stage.pending.values()] == [("observe", "slow")]


@pytest.mark.parametrize(("kind", "error"), [("session", StepUpNeeded), ("token", FresherTokenNeeded)])
def test_a_person_whose_session_or_token_leaked_proves_themselves_again(kind: str, error: type[Exception]) -> None:
    known = "session" if kind == "session" else "token"
    person = Principal(
        workspace=7, kind=known, id=UUID(int=3), name="", permissions=frozenset(), user=UUID(int=4), proven_at=NOW
    )
    street = Street("enforce", principal=person)
    street.now += timedelta(hours=1)
    for _ in range(3):
        street.call(client=AWAY, agent="curl/8.5")
    asked = Asked(route=THINGS, now=street.now + timedelta(seconds=1), client=AWAY, principal=person)
    with pytest.raises(error):
        street.stage.admit(asked)


def test_findings_at_once_are_one_strike_and_a_long_block_ends_within_a_day() -> None:
    finding = Finding(workspace=7, detector="stuffing", subject="network:x", reason="", at=NOW, since=NOW)
    threat = Threat.begun(finding, "enforce")
    assert not threat.strike(finding, "enforce")
    assert (threat.strikes, threat.hits, threat.until) == (1, 2, NOW + timedelta(minutes=15))
    for day in range(1, 20):
        at = NOW + timedelta(days=day)
        later = Finding(workspace=7, detector="stuffing", subject="network:x", reason="", at=at, since=at)
        assert threat.strike(later, "enforce")
        assert threat.until <= at + timedelta(days=1)
