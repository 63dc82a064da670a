"""Conflicts and discrepancies over HTTP: seen by those who may read the records, decided, learned, taken back."""

import pytest

from isthmus.kernel.marks import Json
from isthmus.store.database import Scope
from isthmus.store.observation import Observation
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import Desk

CONFLICTS, RULES, DIFFERENCES = "/api/v1/conflicts", "/api/v1/conflict-rules", "/api/v1/discrepancies"
FINANCE, READS_SALES = ("finance.admin",), ("finance.admin", "sales.viewer")


def euros(amount: str) -> Json:
    """Return money."""
    return {"amount": amount, "currency": "EUR"}


def says(system: str, type_name: str, number: int, **fields: Json) -> Observation:
    """Return what a system says."""
    return Observation(type=type_name, system=system, external_id=f"{system}-{number}", fields=fields)


async def contest(desk: Desk, number: int, *, ours: str, theirs: str) -> None:
    """Have two systems move the amount of one deal."""
    for system in ("crm", "erp"):
        await desk.put(
            says(system, "sales.deal", number, name="Deal", deal_number=f"D-{number}", amount=euros("100.00"))
        )
        desk.later(seconds=1)
    for system, amount in (("crm", ours), ("erp", theirs)):
        await desk.put(says(system, "sales.deal", number, amount=euros(amount)))
        desk.later(seconds=1)


@pytest.fixture
async def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls, where two deals are contested."""
    desk = Desk.of(store, scope)
    await contest(desk, 1, ours="120.00", theirs="150.00")
    await contest(desk, 2, ours="120.00", theirs="520.00")
    return desk


async def listed(desk: Desk, query: str = "", *, roles: tuple[str, ...] = ("owner",)) -> list[Json]:
    """Return the money at stake of listed conflicts."""
    found = await desk.get(f"{CONFLICTS}?{query}", roles=roles)
    assert found.status == 200, found.body
    return [each["stake"] for each in found.rows("data")]


async def first(desk: Desk) -> str:
    """Return the path of the conflict with the most at stake."""
    return f"{CONFLICTS}/{(await desk.get(CONFLICTS)).rows('data')[0]['id']}"


async def test_the_most_at_stake_comes_first_with_filters_and_pages(desk: Desk) -> None:
    assert await listed(desk) == [euros("400.00"), euros("30.00")]
    assert await listed(desk, "stake_min=31&type=sales.deal&field=amount&system=erp") == [euros("400.00")]
    assert await listed(desk, "field=stage") == await listed(desk, "system=desk") == []
    for amount in ("NaN", "Infinity", "1e999999"):
        assert (await desk.get(f"{CONFLICTS}?stake_min={amount}")).status == 422
    page = await desk.get(f"{CONFLICTS}?limit=1")
    assert await listed(desk, f"limit=1&cursor={page.at('next_cursor')}") == [euros("30.00")]
    shown = await desk.get(await first(desk))
    assert (shown.at("kept.system"), shown.at("kept.value")) == ("crm", euros("120.00"))
    assert (shown.at("claimed.system"), shown.at("claimed.value")) == ("erp", euros("520.00"))
    assert (shown.at("last_write_wins"), shown.at("title"), shown.at("status")) == ("claimed", "Deal", "open")


async def test_who_may_not_read_the_records_sees_no_conflict_and_who_may_not_write_decides_none(desk: Desk) -> None:
    own = await first(desk)
    assert await listed(desk, roles=FINANCE) == []
    assert (await desk.get(own, roles=FINANCE)).at("code") == "case-missing"
    assert (await desk.post(f"{own}:resolve", {"choice": "kept"}, roles=FINANCE)).status == 404
    assert (await desk.post(f"{own}:undo", roles=FINANCE)).status == 404
    assert (await desk.get(f"{CONFLICTS}?type=sales.deal", roles=FINANCE)).at("code") == "unknown-type"
    assert len(await listed(desk, roles=READS_SALES)) == 2
    assert (await desk.post(f"{own}:resolve", {"choice": "kept"}, roles=READS_SALES)).at("code") == "denied"
    everywhere: Json = {"choice": "kept"}
    assert (await desk.post(f"{CONFLICTS}:resolve", everywhere, roles=READS_SALES)).at("count") == 0
    assert (await desk.post(f"{CONFLICTS}:resolve", everywhere, roles=("sales.editor",))).status == 403
    assert len(await listed(desk)) == 2


@pytest.mark.parametrize(
    ("decision", "choice", "held"),
    [
        ({"choice": "held"}, "kept", "120.00"),
        ({"choice": "claimed"}, "claimed", "520.00"),
        ({"choice": "system", "system": "erp"}, "claimed", "520.00"),
        ({"choice": "value", "value": euros("300.00")}, "value", "300.00"),
    ],
)
async def test_a_conflict_is_decided_for_a_side_or_a_value_and_taken_back(
    desk: Desk, decision: dict[str, Json], choice: str, held: str
) -> None:
    own = await first(desk)
    decided = await desk.post(f"{own}:resolve", {**decision, "note": "as agreed"})
    assert (decided.at("status"), decided.at("choice"), decided.at("note")) == ("resolved", choice, "as agreed")
    record = await desk.get(f"/api/v1/deals/{decided.at('record')}")
    assert record.at("amount") == euros(held)
    assert (await desk.post(f"{own}:resolve", decision)).at("code") == "case-settled"
    assert (await desk.post(f"{own}:undo")).at("status") == "open"
    assert (await desk.get(f"/api/v1/deals/{decided.at('record')}")).at("amount") == euros("120.00")
    assert (await desk.post(f"{own}:undo")).at("code") == "case-settled"


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        ({"choice": "system"}, "invalid"),
        ({"choice": "kept", "system": "erp"}, "invalid"),
        ({"choice": "system", "system": "desk"}, "no-such-side"),
        ({"choice": "kept", "value": 1}, "value-needed"),
        ({"choice": "value", "value": "much"}, "rejected"),
        ({"choice": "value", "value": {"amount": "1.00", "currency": "EUR"}, "learn": True}, "nothing-to-learn"),
    ],
)
async def test_a_decision_that_does_not_fit_is_refused_and_decides_nothing(
    desk: Desk, decision: dict[str, Json], code: str
) -> None:
    refused = await desk.post(f"{await first(desk)}:resolve", decision)
    assert (refused.status, refused.at("code")) == (422, code)
    assert (len(await listed(desk)), (await desk.get(RULES)).rows("data")) == (2, [])


async def test_a_filter_decides_many_after_a_dry_run_told_which(desk: Desk) -> None:
    wanted: dict[str, Json] = {"choice": "system", "side": "erp", "type": "sales.deal", "stake_min": 30}
    tried = await desk.post(f"{CONFLICTS}:resolve", {**wanted, "dry_run": True})
    assert (tried.at("count"), tried.at("dry_run"), len(await listed(desk))) == (2, True, 2)
    done = await desk.post(f"{CONFLICTS}:resolve", {**wanted, "note": "invoiced"})
    assert {str(each["choice"]) for each in done.rows("data")} == {"claimed"}
    assert (done.at("count"), await listed(desk), len(await listed(desk, "status=resolved"))) == (2, [], 2)
    again = await desk.post(f"{CONFLICTS}:resolve", wanted)
    assert (again.status, again.at("count")) == (200, 0)


async def test_what_is_learned_is_listed_to_those_who_read_the_records_and_forgotten(desk: Desk) -> None:
    decided = await desk.post(f"{await first(desk)}:resolve", {"choice": "claimed", "learn": True, "note": "invoiced"})
    (rule,) = (await desk.get(RULES)).rows("data")
    assert (rule["winner"], rule["loser"], rule["field"], rule["waiting"]) == ("erp", "crm", "amount", 1)
    assert (rule["learned_from"], rule["note"]) == (decided.at("id"), "invoiced")
    own = f"{RULES}/{rule['id']}"
    assert (await desk.get(RULES, roles=FINANCE)).rows("data") == []
    assert (await desk.call("DELETE", own, roles=FINANCE)).at("code") == "rule-missing"
    assert (await desk.call("DELETE", own, roles=READS_SALES)).at("code") == "denied"
    assert (await desk.call("DELETE", own)).status == 204
    assert (await desk.call("DELETE", own)).at("code") == "rule-missing"


async def test_personal_values_are_masked_without_the_permission_to_read_them(desk: Desk) -> None:
    for system, title in (("crm", "Countess"), ("erp", "Lady")):
        await desk.put(says(system, "sales.person", 1, email="ada@engines.example", title=title))
        desk.later(seconds=1)
    rows = f"{DIFFERENCES}?records=true&type=sales.person"
    (found,) = (await desk.get(rows)).rows("records")
    assert (found["one_value"], found["other_value"], found["field"]) == ("Countess", "Lady", "title")
    (masked,) = (await desk.get(rows, roles=READS_SALES)).rows("records")
    assert [masked[name] for name in ("one_value", "other_value", "held")] == ["•••"] * 3


async def test_discrepancies_are_counted_by_pair_and_field_and_listed_record_by_record(desk: Desk) -> None:
    await contest(desk, 3, ours="200.00", theirs="200.00")
    told = await desk.get(f"{DIFFERENCES}?type=sales.deal")
    by_field = {str(each["field"]): each for each in told.rows("data")}
    amount = by_field["amount"]
    assert (amount["one"], amount["other"], amount["compared"], amount["differing"]) == ("crm", "erp", 3, 2)
    assert (told.at("compared"), told.at("differing"), told.at("accuracy")) == (9, 2, 1 - 2 / 9)
    assert told.at("records") is None
    one = await desk.get(f"{DIFFERENCES}?field=amount&one=erp&other=crm&records=true&limit=1")
    rest = await desk.get(
        f"{DIFFERENCES}?field=amount&one=erp&other=crm&records=true&limit=1&cursor={one.at('next_cursor')}"
    )
    values = [(each["one_value"], each["other_value"]) for each in (*one.rows("records"), *rest.rows("records"))]
    assert values == [(euros("120.00"), euros("150.00")), (euros("120.00"), euros("520.00"))]
    assert (one.at("differing"), rest.rows("data")) == (2, [])
    assert (await desk.get(f"{DIFFERENCES}?one=desk")).at("accuracy") is None
    assert (await desk.get(DIFFERENCES, roles=FINANCE)).at("compared") == 0


async def test_what_was_edited_here_is_no_discrepancy_of_systems(desk: Desk) -> None:
    deal = await desk.id_of("sales.deal", "crm-1")
    stored = await desk.get(f"/api/v1/deals/{deal}")
    headers = {"if-match": stored.headers["etag"]}
    assert (await desk.call("PATCH", f"/api/v1/deals/{deal}", {"name": "Ours"}, headers=headers)).status == 200
    told = await desk.get(f"{DIFFERENCES}?type=sales.deal&records=true")
    assert {str(each[side]) for each in (*told.rows("data"), *told.rows("records")) for side in ("one", "other")} == {
        "crm",
        "erp",
    }


async def test_a_cursor_of_another_list_is_refused(desk: Desk) -> None:
    page = await desk.get(f"{CONFLICTS}?limit=1")
    other = await desk.get(f"{CONFLICTS}?limit=1&status=all&cursor={page.at('next_cursor')}")
    assert other.at("code") == "invalid-cursor"
