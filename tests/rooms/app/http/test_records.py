"""Records over HTTP: lists, masks, history and edits made here."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from isthmus.app.discovery import schema
from isthmus.app.http.records import plural
from isthmus.app.program import Program
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.observation import Observation
from isthmus.sync.ingest import Interval, put
from tests.rooms.app.http.caller import Caller
from tests.rooms.app.http.conftest import Site, scope_of

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
PERSONAL = ("email", "phone", "first_name", "last_name", "title", "message")


@dataclass(frozen=True)
class Office:
    """A workspace with seven leads and a deal, and those who work there."""

    editor: Caller
    viewer: Caller
    leads: tuple[str, ...]
    deal: str


@pytest.fixture(scope="module")
def office(site: Site) -> Office:
    """The office of this file."""
    workspace = site.workspace()

    async def fill(program: Program) -> tuple[list[str], str]:
        leads = [
            Observation(
                type="sales.lead",
                system="forms",
                external_id=str(number),
                fields={"email": f"ada{number}@example.test", "first_name": "Ada", "company": f"Company {number}"},
                at=AT,
            )
            for number in range(7)
        ]
        deal = Observation(
            type="sales.deal",
            system="crm",
            external_id="1",
            fields={"name": "Big", "amount": {"amount": "10.50", "currency": "EUR"}},
            at=AT,
        )
        results = await put(
            program.store, scope_of(workspace), [*leads, deal], interval=Interval(since=None, until=datetime.now(UTC))
        )
        assert [each.created for each in results] == [7, 1]
        found = sorted(text_of("lead", each) for each in results[0].records)
        return found, text_of("deal", results[1].records[0])

    leads, deal = site.run(fill)
    editor, viewer = (site.caller(site.key(workspace, f"sales.{role}")) for role in ("editor", "viewer"))
    return Office(editor, viewer, tuple(leads), deal)


def edit(caller: Caller, path: str, fields: Json, version: str) -> tuple[int, Mapping[str, Json]]:
    answer = caller.call("PATCH", path, fields, headers={"if-match": version})
    return answer.status, answer.json


def test_every_record_type_has_a_collection_of_its_own_name() -> None:
    names = [plural(each) for each in schema()]
    assert len(set(names)) == len(names)
    assert {
        "accounts",
        "people",
        "leads",
        "deals",
        "activities",
        "campaigns",
        "touches",
        "invoices",
        "stage-changes",
    } <= {*names}


def test_records_are_listed_page_by_page_in_order(office: Office) -> None:
    found: list[Json] = []
    path = "/api/v1/leads?limit=3"
    for expected in (3, 3, 1):
        answer = office.editor.get(path)
        assert len(answer.rows) == expected
        found += [each["id"] for each in answer.rows]
        path = f"/api/v1/leads?limit=3&cursor={answer.json['next_cursor']}"
    assert found == list(office.leads)


def test_personal_fields_are_masked_for_whoever_may_not_read_them(office: Office) -> None:
    path = f"/api/v1/leads/{office.leads[0]}"
    seen, masked = office.editor.get(path).json, office.viewer.get(path).json
    assert (seen["first_name"], seen["masked"]) == ("Ada", [])
    assert all(masked[name] is None for name in PERSONAL)
    assert set(PERSONAL) <= {*map(str, masked["masked"] if isinstance(masked["masked"], list) else ())}
    assert masked["company"] == seen["company"]
    assert b"example.test" not in office.viewer.get("/api/v1/leads").body
    assert b"example.test" not in office.viewer.get(f"{path}/history").body


def test_the_history_tells_each_word_with_its_system_time_and_rule(office: Office) -> None:
    rows = office.editor.get(f"/api/v1/leads/{office.leads[0]}/history").rows
    [name] = [each for each in rows if each["field"] == "first_name"]
    assert (name["value"], name["system"], name["at"], name["verdict"]) == (
        "Ada",
        "forms",
        "2026-11-01T12:00:00Z",
        "first",
    )


def test_an_edit_names_the_version_it_was_made_from(office: Office) -> None:
    path = f"/api/v1/leads/{office.leads[1]}"
    tag = office.editor.get(path).headers["etag"]
    assert office.editor.call("PATCH", path, {"title": "CTO"}).code == "precondition-required"
    status, edited = edit(office.editor, path, {"title": "CTO"}, tag)
    assert (status, edited["title"]) == (200, "CTO")
    status, refused = edit(office.editor, path, {"title": "CEO"}, tag)
    assert (status, refused["code"]) == (412, "stale-version")
    assert office.editor.get(path).json["title"] == "CTO"
    assert office.editor.get(path).headers["etag"] != tag
    assert office.editor.get(path, if_none_match=office.editor.get(path).headers["etag"]).status == 304


def test_an_edit_is_in_the_history_under_our_own_name(office: Office) -> None:
    path = f"/api/v1/deals/{office.deal}"
    tag = office.editor.get(path).headers["etag"]
    status, edited = edit(office.editor, path, {"amount": {"amount": "12.00", "currency": "EUR"}}, tag)
    assert (status, edited["amount"]) == (200, {"amount": "12.00", "currency": "EUR"})
    systems = [each["system"] for each in office.editor.get(f"{path}/history").rows if each["field"] == "amount"]
    assert systems == ["crm", "isthmus"]


@pytest.mark.parametrize(
    ("fields", "faults"),
    [
        ({"email": "not an address"}, {("/email", "wrong-form")}),
        ({"colour": 1}, {("/colour", "unknown-field")}),
        ({"company_size": "many", "status": "asleep"}, {("/company_size", "wrong-type"), ("/status", "unknown-value")}),
        ({"company_size": -1}, {("/company_size", "out-of-range")}),
        ({"expected_value": {"amount": "1", "currency": "euro"}}, {("/expected_value", "invalid-money")}),
        ({"campaign_id": "camp_1"}, {("/campaign_id", "invalid-id")}),
        ({"campaign_id": "camp_01M82SYZ66ERX9QYA8ED4Z3A3S"}, {("/campaign_id", "unknown-record")}),
    ],
)
def test_a_bad_edit_is_refused_and_changes_nothing(office: Office, fields: Json, faults: set[tuple[str, str]]) -> None:
    path = f"/api/v1/leads/{office.leads[2]}"
    before = office.editor.get(path)
    answer = office.editor.call("PATCH", path, fields, headers={"if-match": "*"})
    assert answer.status == 422
    assert answer.faults == faults
    assert office.editor.get(path).body == before.body


def test_an_address_that_the_form_allows_and_mail_does_not_is_refused(office: Office) -> None:
    path = f"/api/v1/leads/{office.leads[2]}"
    answer = office.editor.call("PATCH", path, {"email": "a..b@example.test"}, headers={"if-match": "*"})
    assert answer.status == 422
    assert {pointer for pointer, _ in answer.faults} == {"/email"}


def test_a_viewer_edits_nothing(office: Office) -> None:
    answer = office.viewer.call("PATCH", f"/api/v1/leads/{office.leads[0]}", {"title": "X"}, headers={"if-match": "*"})
    assert (answer.status, answer.code) == (403, "grant-missing")


def test_of_many_edits_of_one_version_one_is_stored(office: Office) -> None:
    path = f"/api/v1/leads/{office.leads[3]}"
    tag = office.editor.get(path).headers["etag"]
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(edit, office.editor, path, {"title": f"T{number}"}, tag) for number in range(8)]
    assert sorted(each.result()[0] for each in waiting) == [200] + [412] * 7


def test_records_of_another_workspace_are_not_found(site: Site, office: Office) -> None:
    stranger = site.caller(site.key(site.workspace(), "owner"))
    path = f"/api/v1/leads/{office.leads[0]}"
    assert stranger.get("/api/v1/leads").rows == []
    assert stranger.get(path).code == "record-missing"
    assert stranger.get(f"{path}/history").code == "record-missing"
    assert stranger.call("PATCH", path, {"title": "X"}, headers={"if-match": "*"}).status == 404


def test_a_list_is_filtered_by_the_record_its_rows_point_to(office: Office) -> None:
    assert office.editor.get("/api/v1/leads?campaign_id=camp_01M82SYZ66ERX9QYA8ED4Z3A3S").rows == []
    assert office.editor.get("/api/v1/leads?campaign_id=lead_1").faults == {("/query/campaign_id", "invalid-id")}
