"""Two walls stand between workspaces: the code names the workspace in every query, and PostgreSQL checks every row.

Each wall is taken down whole, and the other must hold alone; with both down the planted rows show, which proves that
the search for them works.
"""

import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

import psycopg
import pytest
from psycopg import AsyncConnection, sql

from isthmus.analytics import Catalog, Ledgers
from isthmus.app.discovery import catalog, ledgers, schema
from isthmus.app.engines import Engines
from isthmus.app.http.assembly import all_routes, build
from isthmus.auth.keys import KeyWish, create_key
from isthmus.gateway import ANY_CALLER, Route, Services
from isthmus.gateway.router import parameters
from isthmus.kernel.clock import FrozenClock
from isthmus.kernel.ids import text_of
from isthmus.kernel.marks import Json
from isthmus.store.database import Database, Scope
from isthmus.store.observation import Observation
from isthmus.store.records import page
from isthmus.sync.ingest import Interval, Store, put
from tests.access.table import DOMAINS
from tests.conftest import NOW
from tests.rooms.gateway.stage import Stage

CANARY = "quokka"
_FILTER = re.compile(r"(\b\w+\.)?workspace = (\(select current_workspace\(\)\)|current_workspace\(\)|\w+\.workspace)")
_TYPES = ("sales.account", "sales.lead", "sales.deal", "marketing.campaign", "finance.vendor")


@dataclass(frozen=True)
class Neighbours:
    """A caller in one workspace, and the ids of the records of another."""

    key: str
    ids: Mapping[str, str]
    own: Scope
    other: Scope


@pytest.fixture
async def neighbours(store: Store, scope: Scope) -> Neighbours:
    """Two workspaces, of which the other holds planted records."""
    slug = f"test-{secrets.token_hex(6)}"
    async with store.database.plain() as connection:
        made = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, 'Other', %s) returning id", (slug, NOW)
        )
        row = await made.fetchone()
    assert row is not None
    other = replace(scope, workspace=int(row[0]))
    many = [
        Observation(type=name, system="crm", external_id="1", fields={field: f"{CANARY} {name}"}, at=NOW)
        for name, field in zip(_TYPES, ("name", "company", "name", "name", "name"), strict=True)
    ]
    await put(store, other, many, interval=Interval(since=None, until=NOW))
    ids: dict[str, str] = {}
    async with store.database.transaction(other) as tx:
        for name in _TYPES:
            (found,) = await page(tx, store.vault, store.schema[name], limit=2)
            ids[f"{name.partition('.')[2]}_id"] = text_of(store.schema[name].prefix, found.id)
        await create_key(tx, KeyWish(name=f"{CANARY} key", roles=("owner",)), domains=DOMAINS, giver=None)
    async with store.database.transaction(scope) as tx:
        _, text = await create_key(tx, KeyWish(name="Own", roles=("owner",)), domains=DOMAINS, giver=None)
    return Neighbours(text.text, ids, scope, other)


@pytest.fixture
async def without_rows_checked(engines: Engines) -> AsyncIterator[Database]:
    """The database as its owner sees it, whom row-level security does not bind."""
    owner = engines.postgres.owner
    opened = Database(owner.conninfo, password=owner.password)
    await opened.open()
    yield opened
    await opened.close()


def without_filters(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take the workspace out of every query that the code sends from now on; return what was changed."""
    changed: list[str] = []
    sent = AsyncConnection.execute

    async def execute(self: object, query: object, *more: object, **named: object) -> object:
        text = query if isinstance(query, str) else ""
        mutated = _FILTER.sub("true", text)
        if mutated != text and not text.lstrip().lower().startswith(("insert", "merge")):
            changed.append(text)
            query = mutated
        return await sent(cast("AsyncConnection[tuple[object, ...]]", self), cast("str", query), *more, **named)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]  # it takes what the driver takes.

    monkeypatch.setattr(AsyncConnection, "execute", execute)
    return changed


def stage(store: Store, database: Database, key: str, routes: tuple[Route, ...] | None = None) -> Stage:
    """Return a caller of all routes over a database."""
    clock = FrozenClock(NOW)
    own = Store(store.schema, database, store.vault)
    others: dict[type, object] = {Store: own, Catalog: catalog(), Ledgers: ledgers()}
    services = Services(schema=store.schema, database=database, vault=store.vault, clock=clock, others=others)
    return Stage(build(services, routes or all_routes(store.schema)), clock, key)


async def leaking(at: Stage, neighbours: Neighbours, *, quick: bool = False) -> list[str]:
    """Call every route that reads, with the other workspace's ids where a path has one; return those that show it."""
    found: list[str] = []
    for route in all_routes(schema()):
        if route.method != "GET" or route.media == "text/event-stream" or (quick and not route.record):
            continue
        path = route.path
        for name in parameters(path):
            path = path.replace(f"{{{name}}}", neighbours.ids.get(name, "x"))
        if CANARY.encode() in (await at.call("GET", path)).body:
            found.append(f"GET {route.path}")
    return found


async def changing(at: Stage, neighbours: Neighbours) -> set[int]:
    """Try to change every planted record; return what it was answered."""
    plurals = {"account": "accounts", "lead": "leads", "deal": "deals", "campaign": "campaigns", "vendor": "vendors"}
    statuses: set[int] = set()
    for kind, collection in plurals.items():
        body: dict[str, Json] = {"company" if kind == "lead" else "name": "mine"}
        path = f"/api/v1/{collection}/{neighbours.ids[f'{kind}_id']}"
        statuses.add((await at.call("PATCH", path, body, headers={"if-match": "*"})).status)
    return statuses


async def test_with_no_workspace_in_any_query_row_level_security_shows_no_row(
    store: Store, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = stage(store, store.database, neighbours.key)
    changed = without_filters(monkeypatch)
    assert await leaking(at, neighbours) == []
    assert await changing(at, neighbours) == {404}
    assert len(set(changed)) > 20, "the filters were not taken out"


async def test_with_row_level_security_off_the_queries_show_no_row(
    store: Store, neighbours: Neighbours, without_rows_checked: Database
) -> None:
    async with without_rows_checked.transaction(neighbours.own) as tx:
        everything = await (await tx.connection.execute("select count(*) from sales_deal")).fetchone()
    assert everything is not None
    assert everything[0] > 0, "row-level security still stands"
    at = stage(store, without_rows_checked, neighbours.key)
    assert await leaking(at, neighbours) == []
    assert await changing(at, neighbours) == {404}


async def test_with_both_walls_down_the_planted_rows_show(
    store: Store, neighbours: Neighbours, without_rows_checked: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = stage(store, without_rows_checked, neighbours.key)
    without_filters(monkeypatch)
    shown = await leaking(at, neighbours, quick=True)
    assert "GET /api/v1/deals/{deal_id}" in shown


async def test_with_no_permission_asked_a_stranger_to_a_workspace_still_sees_no_row_of_it(
    store: Store, neighbours: Neighbours, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = tuple(
        replace(route, permission=ANY_CALLER) if route.permission else route for route in all_routes(store.schema)
    )
    async with store.database.transaction(neighbours.own) as tx:
        wish = KeyWish(name="Least", permissions=("audit:read",))
        _, text = await create_key(tx, wish, domains=DOMAINS, giver=None)
    at = stage(store, store.database, text.text, open_to_all)
    assert (await at.call("GET", "/api/v1/deals")).status == 200, "the permission is still asked for"
    assert await leaking(at, neighbours) == []
    without_filters(monkeypatch)
    assert await leaking(at, neighbours, quick=True) == []


async def test_no_table_lets_a_workspace_see_change_or_take_rows_of_another(
    store: Store, neighbours: Neighbours, engines: Engines
) -> None:
    owner = engines.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        tables = [
            str(name)
            for (name,) in connection.execute(
                "select c.table_name from information_schema.columns c join information_schema.tables t "
                "using (table_schema, table_name) where c.column_name = 'workspace' and t.table_type = 'BASE TABLE' "
                "and c.table_schema = 'public'"
            )
        ]
    assert len(tables) > 30
    wrong: list[str] = []
    statements = (
        sql.SQL("select 1 from {} where workspace = %s"),
        sql.SQL("update {} set workspace = workspace where workspace = %s"),
        sql.SQL("delete from {} where workspace = %s"),
    )
    for table in tables:
        for statement in statements:
            try:
                async with store.database.transaction(neighbours.own) as tx:
                    named = statement.format(sql.Identifier(table))
                    cursor = await tx.connection.execute(named, (neighbours.other.workspace,))
                    if cursor.rowcount > 0:
                        wrong.append(named.as_string())
            except psycopg.errors.InsufficientPrivilege:
                continue
    assert wrong == []
