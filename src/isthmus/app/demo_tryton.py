"""The demonstration with a real ERP beside it: a Tryton server that knows some of the same companies and deals.

The ERP's people wrote them down by themselves: the same domains and order numbers, other phones, some other amounts. So
the first pull recognises them, some amounts wait for a person, and what only one side knew flows to the other.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypedDict, cast
from urllib.parse import urlsplit
from uuid import UUID

from isthmus.app.counterparts.tryton import TrytonServer, tryton
from isthmus.app.counterparts.tryton_rpc import TrytonLogin
from isthmus.app.counterparts.tryton_world import COUNTRIES, CURRENCIES, day, decimal
from isthmus.app.discovery import connectors
from isthmus.app.engines import Engines, RunningEngines
from isthmus.app.engines.home import write_private
from isthmus.app.program import Program, opened
from isthmus.app.settings import Settings
from isthmus.app.syncing import watched_when_free
from isthmus.kernel.marks import Json
from isthmus.store.records import Stored, find, page
from isthmus.sync.connections import (
    Connection,
    ConnectionMissing,
    Status,
    change_connection,
    connect,
    connection_of,
    pause,
    resume,
)

NAME = CONNECTOR = "tryton"
EVERY_S = 60
SHARED_DEALS = 6
DIFFERENT_EVERY = 3
OPEN_STAGES = {"qualification": (), "needs_analysis": ("opportunity",)}
RESTS = "Its server runs only while `isthmus demo --with tryton` does."
SEEDED = "Shared with the demonstration"
_KNOWN = """
select count(*), count(*) filter (where exists (
    select from ref other where other.workspace = ref.workspace and other.record_id = ref.record_id
       and other.system not in ('tryton', 'isthmus') and not other.deleted
)) from ref where system = 'tryton' and not deleted
"""
_CONFLICTS = """
select count(*), count(*) filter (where 'tryton' in (kept_system, claimed_system)) from inbox_case where status = 'open'
"""
_ACTOR = {"actor": "system:demo", "cause": "demo"}
Say = Callable[[str], None]


class FoundThere(TypedDict):
    """What came of it, as JSON values: where the ERP is, and what the run did.

    `look` is a file with the header that opens its REST interface: curl -H @<look> <url>/<database>/rest/model/…
    """

    url: str
    database: str
    look: str
    records: int
    created: int
    matched: int
    conflicts: int
    conflicts_in_all: int
    rejected: int
    written: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The ERP that runs beside the demonstration, until `stop`."""

    found: FoundThere
    settings: Settings
    engines: Engines | RunningEngines
    server: ExitStack

    async def stop(self) -> None:
        """Let the connection rest, so that nobody asks for a server that is gone, and stop the server."""
        try:
            async with opened(self.settings, self.engines, connections_max=2) as program:
                await _rest(program)
        finally:
            await asyncio.to_thread(self.server.close)


async def load_tryton(settings: Settings, engines: Engines | RunningEngines, *, say: Say) -> Beside:
    """Start Tryton under `<data_dir>/demo/tryton`, connect it, pull and push; a second time goes on from there.

    Raises CounterpartFailed when it cannot be installed or started; then nothing runs.
    """
    began = time.monotonic()
    home = settings.data_dir / "demo" / "tryton"
    with ExitStack() as stack:
        async with opened(settings, engines, connections_max=6) as program:
            known = await _connection(program)
            port = _free(urlsplit(known.settings["url"]).port) if known else 0
            server = await asyncio.to_thread(stack.enter_context, tryton(home, port=port, report=say))
            look = home / "rest-header"
            write_private(look, f"Authorization: bearer {server.key}\n".encode())
            deals = await _shared(program)
            made = await asyncio.to_thread(_seed, server.login(), deals)
            if made:
                say(f"Tryton: its people know {made} of our deals and their companies")
            await _connect(program, server, known)
            found = await _agree(program, server, look=look, began=began, say=say)
        return Beside(found=found, settings=settings, engines=engines, server=stack.pop_all())


@dataclass(frozen=True, kw_only=True)
class Deal:
    """A deal that both systems know, and its company."""

    deal: Stored
    account: Stored


async def _connection(program: Program) -> Connection | None:
    async with program.database.transaction(program.scope(**_ACTOR)) as tx:
        try:
            return await connection_of(tx, NAME)
        except ConnectionMissing:
            return None


def _free(port: int | None) -> int:
    """Return the port when nobody has it, so that addresses last from one start to the next; else 0, for any."""
    with socket.socket() as one:
        # Connections of the last start that wait for their end do not keep servers from the port.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port or 0))
        except OSError:
            return 0
    return port or 0


async def _shared(program: Program) -> list[Deal]:
    """Return open deals that an ERP could know as well, the newest first, one of each company."""
    schema = program.store.schema
    deals: dict[UUID, Stored] = {}
    async with program.database.transaction(program.scope(**_ACTOR)) as tx:
        after = None
        while rows := await page(tx, program.vault, schema["sales.deal"], limit=1_000, after=after):
            after = rows[-1].id
            for each in rows:
                if each.values["stage"] in OPEN_STAGES and each.values["deal_number"] and each.values["account_id"]:
                    deals[UUID(str(each.values["account_id"]))] = each
        accounts = await find(tx, program.vault, schema["sales.account"], list(deals))
    known = [Deal(deal=deals[own], account=account) for own, account in accounts.items()]
    fitting = [each for each in known if _fits(each)]
    return sorted(fitting, key=lambda each: str(each.deal.values["deal_number"]), reverse=True)[:SHARED_DEALS]


def _fits(each: Deal) -> bool:
    """Tell whether this ERP has the country and currency; a tax id it would check, and the made-up ones are none."""
    account, amount = each.account.values, each.deal.values["amount"]
    return (
        bool(account["domain"])
        and account["tax_id"] is None
        and account["country"] in COUNTRIES
        and isinstance(amount, dict)
        and amount["currency"] in CURRENCIES
    )


def _seed(login: TrytonLogin, deals: Sequence[Deal]) -> int:
    """Write the shared deals down in the ERP, as its people would; once only. Returns how many were made."""
    if login.find("party.category", ["name", "=", SEEDED]):
        return 0
    made = 0
    for position, each in enumerate(deals):
        number = cast("str", each.deal.values["deal_number"])
        if not login.find("sale.opportunity", ["reference", "=", number]):
            _write_down(login, each, different=position % DIFFERENT_EVERY == 0, position=position)
            made += 1
    login.create("party.category", {"name": SEEDED})
    return made


def _write_down(login: TrytonLogin, each: Deal, *, different: bool, position: int) -> None:
    deal, account = each.deal.values, each.account.values
    contacts: list[Json] = [
        {"type": "website", "value": f"https://{account['domain']}"},
        {"type": "phone", "value": f"+1 617 555 01{20 + position}"},
    ]
    party = login.create("party.party", {"name": account["name"], "contact_mechanisms": [["create", contacts]]})[0]
    amount = cast("dict[str, str]", deal["amount"])
    digits = Decimal(amount["amount"]) * (Decimal("1.1") if different else 1)
    values: dict[str, Json] = {
        "party": party,
        "description": deal["name"],
        "reference": deal["deal_number"],
        "amount": decimal(f"{digits:.2f}"),
        "currency": login.find("currency.currency", ["code", "=", amount["currency"]])[0],
        "employee": _employee(login, str(deal["owner_id"])),
        "company": cast("int", login.context["company"]),
        "conversion_probability": cast("float", deal["probability"] or 0.5),
    }
    for name, ours in (("start_date", "opened_at"), ("end_date", "close_date")):
        if text := deal[ours]:
            values[name] = day(*(int(part) for part in str(text)[:10].split("-")))
    number = login.create("sale.opportunity", values)[0]
    for button in OPEN_STAGES[str(deal["stage"])]:
        login.press("sale.opportunity", button, number)


def _employee(login: TrytonLogin, owner: str) -> int:
    """Return the employee of that name, made when the ERP has none."""
    if found := login.find("company.employee", ["party.name", "=", owner]):
        return found[0]
    party = login.create("party.party", {"name": owner})[0]
    return login.create("company.employee", {"party": party, "company": cast("int", login.context["company"])})[0]


async def _connect(program: Program, server: TrytonServer, known: Connection | None) -> None:
    """Connect the server, or tell the connection where it is this time."""
    connector = connectors()[CONNECTOR]
    given = {"url": server.url, "database": server.database, "key": server.key}
    given |= {"user": server.user, "password": server.password}
    async with program.database.transaction(program.scope(**_ACTOR)) as tx:
        if known is None:
            await connect(tx, program.vault, connector, name=NAME, settings=given)
            return
        if known.status == Status.PAUSED and known.reason == RESTS:
            await resume(tx, known)
        await change_connection(tx, program.vault, connector, known, settings=given)


async def _agree(program: Program, server: TrytonServer, *, look: Path, began: float, say: Say) -> FoundThere:
    """Pull and push, have the scheduler go on with it, and count. What a person has paused is left alone."""
    known = await _connection(program)
    if known is not None and known.status == Status.PAUSED:
        say(f"Tryton: its connection is paused: {known.reason}")
        run = None
    else:
        run = await watched_when_free(program, NAME, show=lambda _: None, say=say)
        say(f"Tryton: {run.read:,} read, {run.created:,} new, {run.changed:,} changed, {run.written:,} written there")
    async with program.database.transaction(program.scope(**_ACTOR)) as tx:
        connection = await connection_of(tx, NAME)
        if connection.every_s is None:
            await change_connection(tx, program.vault, connectors()[CONNECTOR], connection, every_s=EVERY_S)
        known_there = await (await tx.connection.execute(_KNOWN)).fetchone()
        conflicts = await (await tx.connection.execute(_CONFLICTS)).fetchone()
    return FoundThere(
        url=server.url,
        database=server.database,
        look=str(look),
        records=int(known_there[0]) if known_there else 0,
        created=run.created if run else 0,
        matched=int(known_there[1]) if known_there else 0,
        conflicts=int(conflicts[1]) if conflicts else 0,
        conflicts_in_all=int(conflicts[0]) if conflicts else 0,
        rejected=run.rejected if run else 0,
        written=run.written if run else 0,
        seconds=round(time.monotonic() - began, 2),
    )


async def _rest(program: Program) -> None:
    async with program.database.transaction(program.scope(**_ACTOR)) as tx:
        connection = await connection_of(tx, NAME)
        if connection.status != Status.PAUSED:
            await pause(tx, connection, reason=RESTS)
