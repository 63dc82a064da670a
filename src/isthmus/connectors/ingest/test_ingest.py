"""What libraries send, in the words of each, becomes usage events, people and accounts; what is bad stays alone."""

import base64
import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from isthmus.connectors.ingest import CONNECTOR
from isthmus.connectors.ingest.mapping import CUSTOM_MAX, custom, person_word
from isthmus.connectors.ingest.reading import EVENTS, FORMATS, GROUPS, PEOPLE, SEEN_PEOPLE, place_of
from isthmus.connectors.ingest.values import happened, moment
from isthmus.connectors.ingest.wire import unpacked
from isthmus.kernel.errors import IsthmusError, Malformed, TooLarge, Unauthenticated
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.connector import Raw, Sent
from isthmus.sync.doors import kept

RECEIVED = datetime(2026, 11, 20, 10, 0, 10, tzinfo=UTC)
KEY = "a-write-key-of-a-product"
EMAIL = "ada@lovelace.example"


def fixture(name: str) -> bytes:
    """Return a body as it was sent."""
    return (Path(__file__).parent / "fixtures" / f"{name}.json").read_bytes()


def sent(path: str, body: bytes = b"", query: bytes = b"", **headers: str) -> Sent:
    """Return what came in at a path."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent(path=path, at=RECEIVED, body=body, query=query, headers=named)


def rows(what: Sent) -> dict[str, list[Raw]]:
    """Return the rows of what was sent, by feed."""
    assert CONNECTOR.inbound is not None
    found: dict[str, list[Raw]] = {}
    for feed, raw in CONNECTOR.inbound.read(kept(what)):
        assert isinstance(raw, Raw)
        found.setdefault(feed, []).append(raw)
    return found


def mapped(feed: str, raws: list[Raw]) -> dict[str, Observation]:
    """Return what good rows say, by id."""
    found: dict[str, Observation] = {}
    for raw in raws:
        try:
            (each,) = CONNECTOR.normalise(feed, raw)
        except IsthmusError:
            continue
        found[raw.external_id] = each
    return found


def keys(what: Sent) -> tuple[str, ...]:
    """Return the keys that are shown."""
    spoken, place = place_of(what.path)
    return tuple(each for each in spoken.opened(place, what).keys if each)


def merges(found: Mapping[str, list[Raw]]) -> dict[str, str | None]:
    """Return which ids become part of which."""
    return {raw.external_id: raw.merged_into for raw in found.get(SEEN_PEOPLE, []) if raw.deleted}


def refused(path: str, body: bytes) -> IsthmusError | None:
    """Return with what a body is refused."""
    spoken, place = place_of(path)
    try:
        spoken.batch(place, sent(path, body))
    except IsthmusError as error:
        return error
    return None


def test_messages_of_the_segment_spec_become_events_people_and_accounts() -> None:
    found = rows(sent("v1/batch", fixture("segment.batch")))
    events = mapped(EVENTS, found[EVENTS])
    assert {str(each.fields["name"]) for each in events.values()} == {"Report Exported", "page"}
    exported = events["m-2"]
    assert exported.fields["custom"] == {"rows": 7, "by.way": "menu"}
    assert {name: link.external_id for name, link in exported.links.items()} == {"person_id": "u1", "account_id": "g1"}
    assert exported.fields["at"] == "2026-11-20T10:00:06+00:00"
    assert events["m-3"].fields["custom"] == {
        "name": "Pricing",
        "url": "https://example.com/pricing",
        "path": "/pricing",
        "utm_source": "mail",
    }
    person = mapped(PEOPLE, found[PEOPLE])["u1"]
    assert (person.fields["email"], person.fields["first_name"], person.fields["last_name"]) == (
        EMAIL,
        "Ada",
        "Lovelace",
    )
    assert (person.fields["city"], person.fields["custom"]) == ("London", {"plan": "team"})
    assert person.links["account_id"].external_id == "g1"
    assert mapped(GROUPS, found[GROUPS])["g1"].fields == {"name": "Analytical Engines", "employee_count": 12}
    assert merges(found) == {"a1": "u1"}


def test_a_bad_event_fails_alone_with_its_cause() -> None:
    bad = [raw for raw in rows(sent("v1/batch", fixture("segment.batch")))[EVENTS] if not raw.stranger]
    causes: list[str] = []
    for raw in bad:
        with pytest.raises(IsthmusError) as caught:
            list(CONNECTOR.normalise(EVENTS, raw))
        causes.append(caught.value.detail)
    assert causes == ["The event has no name.", "The event is no object."]


def test_an_event_over_its_size_is_refused() -> None:
    body = {"batch": [{"type": "track", "userId": "u", "event": "e", "properties": {"text": "x" * 33_000}}]}
    (raw,) = rows(sent("v1/batch", json.dumps(body).encode()))[EVENTS]
    with pytest.raises(IsthmusError, match="32,768 bytes"):
        list(CONNECTOR.normalise(EVENTS, raw))


def test_events_of_posthog_are_read_from_batches_forms_and_packed_bodies() -> None:
    whole = fixture("posthog.batch")
    found = rows(sent("batch/", gzip.compress(whole), content_encoding="gzip"))
    events = mapped(EVENTS, found[EVENTS])
    assert {name: each.fields["name"] for name, each in events.items()} == {"p-1": "page", "p-3": "exported"}
    assert events["p-1"].fields["custom"] == {"$current_url": "https://example.com/"}
    assert events["p-1"].fields["session"] == "s1"
    assert events["p-3"].links["account_id"].external_id == "g1"
    assert merges(found) == {"a1": "u1"}
    assert mapped(GROUPS, found[GROUPS])["g1"].fields == {"name": "Analytical Engines"}
    one = json.dumps([{"event": "seen", "properties": {"distinct_id": "u", "token": KEY}}]).encode()
    form = urlencode({"data": base64.b64encode(one).decode()}).encode()
    for what in (sent("e/", form, b"compression=base64"), sent("i/v0/e/", gzip.compress(one), b"compression=gzip-js")):
        assert keys(what) == (KEY,)
        assert [each.fields["name"] for each in mapped(EVENTS, rows(what)[EVENTS]).values()] == ["seen"]


def test_a_question_about_flags_is_answered_with_none() -> None:
    spoken, place = place_of("flags/")
    opened = spoken.opened(place, sent("flags/", json.dumps({"api_key": KEY, "distinct_id": "u"}).encode()))
    assert opened.keys == (KEY,)
    assert msgspec.json.decode(opened.told.body, type=dict[str, Json])["featureFlags"] == {}
    assert not place.kept


@pytest.mark.parametrize("packed", [False, True])
def test_events_of_mixpanel_come_in_forms(packed: bool) -> None:  # noqa: FBT001 - parametrised.
    body = fixture("mixpanel.track")
    form = urlencode({"data": base64.b64encode(body).decode() if packed else body.decode(), "verbose": "1"}).encode()
    what = sent("track", form)
    assert keys(what) == (KEY,)
    spoken, place = place_of("track")
    assert spoken.opened(place, what).told.body == b'{"status":1,"error":null}'
    found = rows(what)
    events = mapped(EVENTS, found[EVENTS])
    assert events["x-1"].fields["custom"] == {"company": "g1", "rows": 7}
    assert events["x-1"].fields["duration_s"] == 2.5
    assert events["x-1"].fields["at"] == "2026-11-20T10:00:00+00:00"
    assert events["x-2"].fields["name"] == "page"
    assert merges(found) == {"a1": "u1", "$device:d1": "u1"}


def test_an_import_of_mixpanel_is_a_list_or_lines_and_proves_itself_by_its_secret() -> None:
    events = json.loads(fixture("mixpanel.track"))
    line_by_line = b"\n".join(json.dumps(each).encode() for each in events)
    basic = "Basic " + base64.b64encode(b"project-secret-of-it:").decode()
    what = sent("import", line_by_line, b"strict=1", authorization=basic, content_type="application/x-ndjson")
    assert keys(what)[0] == "project-secret-of-it"
    spoken, place = place_of("import")
    assert json.loads(spoken.opened(place, what).told.body)["num_records_imported"] == 3
    assert len(rows(what)[EVENTS]) == 2


def test_a_profile_says_what_is_set_and_what_is_removed() -> None:
    said = [{"$token": KEY, "$distinct_id": "u1", "$set": {"$email": EMAIL, "plan": "team"}, "$unset": ["$phone"]}]
    found = rows(sent("engage", urlencode({"data": json.dumps(said)}).encode()))
    assert mapped(PEOPLE, found[PEOPLE])["u1"].fields == {"email": EMAIL, "phone": None, "custom": {"plan": "team"}}


def test_events_of_amplitude_are_read_with_their_clock_mended() -> None:
    what = sent("2/httpapi", fixture("amplitude.httpapi"))
    assert keys(what) == (KEY,)
    found = rows(what)
    event = mapped(EVENTS, found[EVENTS])["i-1"]
    assert event.fields["at"] == (RECEIVED - timedelta(seconds=1)).isoformat()
    assert event.links["account_id"].external_id == "g1"
    assert mapped(PEOPLE, found[PEOPLE])["user-1"].fields == {"email": EMAIL}
    assert merges(found) == {"device-1": "user-1"}
    assert len([raw for raw in found[EVENTS] if not raw.stranger]) == 1


def test_events_of_snowplow_are_named_by_what_they_are() -> None:
    path = "{write_key}/com.snowplowanalytics.snowplow/tp2"
    found = rows(sent(path, fixture("snowplow.tp2")))
    events = mapped(EVENTS, found[EVENTS])
    assert {own: each.fields["name"] for own, each in events.items()} == {
        "e-1": "page",
        "e-2": "added",
        "e-3": "exported",
    }
    assert events["e-1"].fields["at"] == (RECEIVED - timedelta(seconds=5)).isoformat()
    assert events["e-3"].fields["custom"] == {"rows": 7}
    assert merges(found) == {"d1": "u1"}
    pixel = sent("{write_key}/i", query=urlencode({"e": "pv", "eid": "e-9", "duid": "d2", "page": "Docs"}).encode())
    assert list(mapped(EVENTS, rows(pixel)[EVENTS])) == ["e-9"]
    spoken, place = place_of("{write_key}/i")
    assert spoken.opened(place, pixel).told.body.startswith(b"GIF89a")


@pytest.mark.parametrize(
    "path", ["v1/batch", "batch/", "track", "2/httpapi", "{write_key}/com.snowplowanalytics.snowplow/tp2"]
)
@pytest.mark.parametrize("body", [b"", b"{", b"7", b"{}", b"[]", b"\xff\xfe", b"data=%7B", b'{"data":"x","batch":7}'])
def test_what_cannot_be_read_is_refused_in_words(path: str, body: bytes) -> None:
    error = refused(path, body)
    assert error is None or (error.status == 400 and error.fix)
    assert error is not None or body in {b"{}", b"[]", b'{"data":"x","batch":7}'}


def test_errors_are_worded_as_each_vendor_does() -> None:
    told = {name: each.refusal(Unauthenticated("No.", fix="Look.")) for name, each in FORMATS.items()}
    assert {name: each.status for name, each in told.items()} == {
        **dict.fromkeys(("segment", "posthog", "mixpanel", "snowplow"), 401),
        "amplitude": 400,
    }
    assert json.loads(told["amplitude"].body)["error"].startswith("Invalid API key:")
    assert json.loads(told["mixpanel"].body)["status"] == 0


def test_a_small_body_does_not_become_a_large_one() -> None:
    bomb = gzip.compress(b"[" + b" " * 5_000_000 + b"]")
    with pytest.raises(TooLarge):
        unpacked(sent("v1/batch", bomb, content_encoding="gzip"), bytes_max=1 << 20)
    with pytest.raises(Malformed):
        unpacked(sent("v1/batch", bomb[:-20], content_encoding="gzip"), bytes_max=10 << 20)


def test_a_wrong_clock_is_mended_and_nothing_happens_after_it_was_received() -> None:
    late = RECEIVED + timedelta(days=2)
    said = late - timedelta(seconds=30)
    assert happened(said, sent=late, received=RECEIVED) == RECEIVED - timedelta(seconds=30)
    assert happened(late, sent=None, received=RECEIVED) == RECEIVED
    assert happened(None, sent=None, received=RECEIVED) == RECEIVED
    assert moment(1_795_168_800) == moment("1795168800000") == moment("2026-11-20T10:00:00Z")
    assert moment("next week") is moment(None) is moment(1e40) is moment({}) is None


def test_what_is_personal_does_not_become_a_property() -> None:
    said: dict[str, Json] = {
        "$email": EMAIL,
        "note": f"to {EMAIL}",
        "ip": "192.0.2.1",
        "Phone Number": "1",
        "rows": [1, 2],
    }
    assert custom(said) == {"rows": "[1,2]"}
    assert len(custom({f"p{number}": number for number in range(300)})) == CUSTOM_MAX
    assert person_word({"createdAt": "2026"}, account=None).fields == {}
