"""Leads that come at the same moment share a transaction, and are still answered, refused and traced one by one."""

import asyncio

from isthmus.kernel.marks import Json
from tests.rooms.domains.desk import Answer, Desk
from tests.rooms.domains.sales.test_capture import ADA, LEADS

_TOLD = """
select l.id::text, e.cause, count(*) from event e join sales_lead l on l.workspace = e.workspace and l.id = e.record_id
where e.type like 'isthmus.sales.lead.%%' group by 1, 2
"""
_TRACED = "select request_id, count(*) from audit where resource = 'sales.lead' and request_id = any(%s) group by 1"


async def captured(desk: Desk, *leads: dict[str, Json]) -> list[Answer]:
    """The answers to captures that were all sent at once."""
    await desk.key(("owner",))
    return list(await asyncio.gather(*(desk.post(LEADS, {**ADA, **each}) for each in leads)))


def somebody(number: int) -> dict[str, Json]:
    """A lead like no other."""
    return {"email": f"ada-{number}@lovelace.example", "last_name": f"Lovelace {number}", "company": f"Engine {number}"}


async def test_each_is_answered_refused_and_traced_by_itself(desk: Desk) -> None:
    wrong = {**somebody(4), "campaign_id": "cmp_00000000000000000000000000"}
    answers = await captured(desk, *(somebody(n) for n in range(4)), wrong, somebody(5), somebody(1))
    assert [each.status for each in answers] == [201, 201, 201, 201, 422, 201, 201]
    assert [each["pointer"] for each in answers[4].rows("errors")] == ["/campaign_id"]
    good = [each for each in answers if each.status == 201]
    assert [each.at("outcome") for each in good] == ["created"] * 5 + ["merged"]
    assert good[5].at("lead.id") == good[1].at("lead.id")
    assert len({str(each.at("lead.id")) for each in good}) == 5
    requests = [each.headers["x-request-id"] for each in good]
    async with desk.store.database.transaction(desk.now) as tx:
        told = await (await tx.connection.execute(_TOLD)).fetchall()
        traced = dict(await (await tx.connection.execute(_TRACED, (requests,))).fetchall())
    assert {cause for _, cause, _ in told} == set(requests)
    assert len({lead for lead, _, _ in told}) == 5
    assert set(traced) == set(requests)


async def test_callers_of_different_roles_do_not_see_what_another_may_see(desk: Desk) -> None:
    await asyncio.gather(desk.key(("owner",)), desk.key(("sales.integration",)))
    calls = [
        desk.call("POST", LEADS, {**ADA, **somebody(n)}, roles=(role,))
        for n, role in enumerate(["owner", "sales.integration"] * 3)
    ]
    answers = await asyncio.gather(*calls)
    assert [each.status for each in answers] == [201] * 6
    shown = [each.at("lead.email") for each in answers]
    assert shown[0::2] == [f"ada-{n}@lovelace.example" for n in (0, 2, 4)]
    assert shown[1::2] == [None] * 3
