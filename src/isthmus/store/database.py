"""Connections to PostgreSQL, and transactions in the name of a workspace."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from typing import LiteralString, cast

import msgspec
import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import TupleRow
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from isthmus.kernel.errors import Unavailable
from isthmus.store.arrays import write_lists

POOL_CONNECTIONS_MAX = 12
WAIT_S_MAX = 10.0
AGAIN_S_MAX = 2.0
"""How long a lost connection is tried to be had again before it is begun anew: the pauses in between double."""
SCOPED: LiteralString = "scoped.workspace"
"""How a query that is read by `Database.read` names its workspace."""
_SET: LiteralString = "select set_config('isthmus.workspace', %s, true)::integer as workspace"


class DatabaseAway(Unavailable):
    """PostgreSQL does not answer."""

    code, title = "database-away", "The database does not answer"


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """How a call came about, for every row that it writes into the audit log; empty means unknown or none.

    `behind` is on whose behalf it is made, `network` the class of its address, `decision` the JSON of what let it in.
    """

    behind: str = ""
    purpose: str = ""
    network: str = ""
    decision: str = ""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """In whose name something is done: workspace, actor (`key:…`, `user:…`, `sync:…`), request or run, time."""

    workspace: int
    actor: str
    cause: str
    now: datetime
    circumstances: Circumstances | None = None


@dataclass(frozen=True)
class Transaction:
    """An open transaction in a scope; row-level security shows it its workspace only.

    Where it serves several callers, `causes` are theirs, by the external ids of what each put, and from then on by the
    ids of the records as texts; what is not named there has the cause of the scope. `grown` are workspaces in whose log
    it writes events, of which the database tells once they are committed.
    """

    connection: AsyncConnection[TupleRow]
    scope: Scope
    causes: dict[str, str] = field(default_factory=dict[str, str])
    grown: set[int] = field(default_factory=set[int])


def _unless_cancelled(error: Exception) -> None:
    """Raise CancelledError when the task is being cancelled.

    The driver cancels the running statement then; where that reaches the rollback behind it instead, an error of the
    database would take the place of the cancellation, and a loop that waits such errors out would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


def _away(error: Exception) -> Exception:
    """Return what is raised for an error of the driver; raises CancelledError, and what a statement itself met."""
    _unless_cancelled(error)
    if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected | errors.QueryCanceled):
        raise error
    return DatabaseAway("The connection to PostgreSQL was lost.", fix="Try again in a moment.")


@lru_cache(maxsize=1024)
def _scoped(query: LiteralString, *, selects: bool) -> LiteralString:
    """Return a query behind the one that sets its scope; OFFSET keeps the planner from mixing the two."""
    if SCOPED not in query:
        message = f"the query does not select by {SCOPED}"
        raise ValueError(message)
    if selects:
        query = f"select found.* from scoped cross join lateral ({query} offset 0) found"  # noqa: S608 - texts of ours.
    return f"with scoped as materialized ({_SET}) {query}"


async def _configure(connection: AsyncConnection[TupleRow]) -> None:
    """Read JSON with the reader that all of us use, in a fifth of the time, and write arrays in a third of it."""
    set_json_loads(msgspec.json.decode, connection)
    write_lists(connection)


def _told(circumstances: Circumstances) -> str:
    """Return further columns of a select that set what is known; NUL, which PostgreSQL's texts cannot hold, goes."""
    return "".join(
        f", set_config('isthmus.{each.name}', {sql.Literal(value.replace(chr(0), '')).as_string()}, true)"
        for each in fields(circumstances)
        if (value := str(getattr(circumstances, each.name)))
    )


async def _begin_anew(pool: AsyncConnectionPool[AsyncConnection[TupleRow]]) -> None:
    """Go on trying to connect, with short pauses again: after a long absence nobody waits as long once more."""
    await pool.check()


class Database:
    """A pool of connections as the unprivileged application role."""

    def __init__(
        self,
        conninfo: str,
        *,
        password: str | None = None,
        connections_max: int = POOL_CONNECTIONS_MAX,
        tell: Callable[[int], object] | None = None,
    ) -> None:
        """`conninfo` is a libpq connection string; the password stays out of it.

        `tell` is called with each workspace in whose log events were committed.
        """
        self._tell = tell
        kwargs = {"autocommit": True, "password": password, "options": "-c timezone=UTC"}

        def pool(*, least: int, most: int) -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
            return AsyncConnectionPool(
                conninfo,
                min_size=least,
                max_size=most,
                timeout=WAIT_S_MAX,
                open=False,
                kwargs=kwargs,
                configure=_configure,
                reconnect_timeout=AGAIN_S_MAX,
                reconnect_failed=_begin_anew,
            )

        self._pool, self._beside = pool(least=1, most=connections_max), pool(least=0, most=1)

    async def open(self) -> None:
        """Connect; raises DatabaseAway."""
        try:
            await self._pool.open(wait=True, timeout=WAIT_S_MAX)
            await self._beside.open()
        except PoolTimeout as error:
            raise DatabaseAway(
                f"No connection to PostgreSQL within {WAIT_S_MAX:.0f} s.", fix="Run: isthmus doctor"
            ) from error

    async def close(self) -> None:
        """Close all connections."""
        await self._beside.close()
        await self._pool.close()

    def load(self) -> tuple[int, int]:
        """Return how many connections are in use, and how many callers wait for one."""
        stats = self._pool.get_stats()
        size, free = stats.get("pool_size", 0), stats.get("pool_available", 0)
        return size - free, stats.get("requests_waiting", 0)

    @asynccontextmanager
    async def transaction(self, scope: Scope, *, beside: bool = False) -> AsyncGenerator[Transaction]:
        """Open a transaction that commits at the end of the block, or rolls back when it raises.

        With `beside` it is on a connection that waits behind none of the others, for what must not be late.
        """
        try:
            async with AsyncExitStack() as stack:
                connection = await self._begun(stack, scope, self._beside if beside else self._pool)
                transaction = Transaction(connection, scope)
                try:
                    yield transaction
                except BaseException:
                    with suppress(psycopg.Error):
                        await connection.rollback()
                    raise
                await connection.commit()
                if self._tell is not None:
                    for each in transaction.grown:
                        self._tell(each)
        except (PoolTimeout, errors.OperationalError, psycopg.InterfaceError) as error:
            raise _away(error) from error

    async def read(
        self, scope: Scope, query: LiteralString, parameters: Sequence[object] = ()
    ) -> list[tuple[object, ...]]:
        """Return the rows of one query, in binary form and in one round trip; it sees what a transaction would see.

        The query selects where the workspace is `SCOPED`. So it waits for the row that names the scope, and
        row-level security sees that scope as well: in another order there would be no rows. Raises DatabaseAway, and
        ValueError for a query that does not name it.
        """
        return await self._alone(scope, _scoped(query, selects=True), parameters)

    async def write(self, scope: Scope, query: LiteralString, parameters: Sequence[object] = ()) -> None:
        """Do what one statement says, in a transaction of its own and in one round trip.

        It writes rows selected `from scoped`, whose workspace is `SCOPED`, and so waits for it as `read` does. If the
        connection breaks, it is done again, so it may be done twice. Raises DatabaseAway and ValueError.
        """
        await self._alone(scope, _scoped(query, selects=False), parameters)

    async def _alone(
        self, scope: Scope, whole: LiteralString, parameters: Sequence[object]
    ) -> list[tuple[object, ...]]:
        given = (str(scope.workspace), *parameters)
        try:
            for _ in range(self._pool.max_size):
                async with self._pool.connection() as connection:
                    try:
                        cursor = await connection.execute(whole, given, prepare=True, binary=True)
                        return await cursor.fetchall() if cursor.description else []
                    except (errors.OperationalError, psycopg.InterfaceError):
                        if not connection.closed:
                            raise
        except (PoolTimeout, errors.OperationalError, psycopg.InterfaceError) as error:
            raise _away(error) from error
        raise DatabaseAway("PostgreSQL answers on no connection.", fix="Try again in a moment.")

    async def _begun(self, stack: AsyncExitStack, scope: Scope, pool: AsyncConnectionPool) -> AsyncConnection[TupleRow]:
        """Return a connection with its transaction begun; connections that died while they rested are passed over."""
        # One round trip for all; several statements take no parameters, so the texts are quoted by the driver.
        begin = cast("LiteralString", f"begin; select set_config('isthmus.workspace', '{scope.workspace:d}', true)")
        if scope.circumstances is not None:
            begin = cast("LiteralString", begin + _told(scope.circumstances))
        for _ in range(pool.max_size):
            connection = await stack.enter_async_context(pool.connection())
            try:
                await connection.execute(begin)
            except (errors.OperationalError, psycopg.InterfaceError):
                await stack.aclose()
            else:
                return connection
        raise DatabaseAway("PostgreSQL answers on no connection.", fix="Try again in a moment.")

    @asynccontextmanager
    async def plain(self, *, beside: bool = False) -> AsyncGenerator[AsyncConnection[TupleRow]]:
        """Give a connection that sees no workspace: for the list of workspaces and for health checks.

        With `beside` it is one that waits behind none of the others, for what must not be late.
        """
        try:
            async with (self._beside if beside else self._pool).connection() as connection:
                yield connection
        except (PoolTimeout, errors.OperationalError, psycopg.InterfaceError) as error:
            _unless_cancelled(error)
            raise DatabaseAway("The connection to PostgreSQL was lost.", fix="Try again in a moment.") from error
