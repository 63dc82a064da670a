"""`isthmus keys`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.keys_accounts import LIST as LIST_ACCOUNTS
from isthmus.app.cli.keys_accounts import account
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import Duration, ago, id_of, id_text, moment, short_length
from isthmus.app.clock import SystemClock
from isthmus.app.discovery import domain_names, schema
from isthmus.app.program import workspace_id
from isthmus.auth.accounts import ACCOUNT_PREFIX
from isthmus.auth.keys import ApiKey, KeyWish, create_key, list_keys, revoke_key, rotate_key
from isthmus.auth.keytext import KEY_PREFIX
from isthmus.auth.roles import DOMAIN_ROLES, WORKSPACE_ROLES
from isthmus.kernel.errors import Conflicting
from isthmus.store.database import Scope

if TYPE_CHECKING:
    from uuid import UUID

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

SANDBOX = "sandbox"
_PAGE = 500
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_ROLES = ", ".join((*WORKSPACE_ROLES, *DOMAIN_ROLES))


class LiveWorkspace(Conflicting):
    """A test key opens a sandbox, and the workspace is a live one."""

    code, title = "live-workspace", "The workspace is live"


class MadeKey(Struct, frozen=True, kw_only=True):
    """A new key; `key` is shown this once."""

    id: str
    name: str
    kind: str
    workspace: str
    roles: list[str]
    scopes: list[str]
    expires_at: datetime | None
    key: str


class KeyView(Struct, frozen=True, kw_only=True):
    """A key without its secret; `last_used_at` is exact to a minute."""

    id: str
    name: str
    kind: str
    status: str
    roles: list[str]
    scopes: list[str]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class _Until(click.ParamType[timedelta | datetime]):
    """A length of time such as 90d, or a day such as 2027-01-31, which is included."""

    name = "90d|DATE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta | datetime:
        text = str(value)
        if not _DAY.fullmatch(text):
            return Duration().convert(value, param, ctx)
        try:
            return datetime.fromisoformat(text).replace(tzinfo=UTC) + timedelta(days=1)
        except ValueError:
            self.fail(f"{text!r} is no day.", param, ctx)


class _Keys(Group):
    default = "ls"


@click.group("keys", cls=_Keys)
def command() -> None:
    """Make, list, rotate and revoke API keys.

    A key is shown once and stored as a digest. Without a command the keys are listed.

    Example: isthmus keys create --name "Website forms" --scope sales:write --expires 90d
    """


command.add_command(account)


@command.command("create")
@click.option("--name", required=True, help="Who or what uses it.")
@click.option(
    "--role", "roles", multiple=True, help=f"One of {_ROLES}, or one of a domain, as sales.viewer; repeatable."
)
@click.option("--scope", "scopes", multiple=True, help="A single permission, such as sales:write; repeatable.")
@click.option("--expires", type=_Until(), help="How long it holds, or the last day. Without it: until it is revoked.")
@click.option("--account", help="The service account that owns it: svc_…")
@click.option(
    "--only", multiple=True, metavar="TYPE=ID", help="Limit it to named records, such as marketing.campaign=camp_…."
)
@click.option("--test", "sandboxed", is_flag=True, help=f"A key to the workspace {SANDBOX}, where nothing is real.")
@at_terminal
def create(
    terminal: Terminal,
    name: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    expires: timedelta | datetime | None,
    account: str | None,
    only: tuple[str, ...],
    *,
    sandboxed: bool,
) -> None:
    """Make a key, shown this once.

    The key itself goes to stdout; what is said about it goes to stderr.

    Example: isthmus keys create --name "BI export" --role finance.viewer --role sales.viewer --expires 90d > key.txt
    """
    owner = None if account is None else id_of(ACCOUNT_PREFIX, account, fix=LIST_ACCOUNTS)
    limits = _limits(only)
    if not roles and not scopes and owner is None:
        raise click.UsageError(f"Say what the key may do: --role ({_ROLES}) or --scope (sales:write).")

    async def work(program: Program) -> MadeKey:
        scope, workspace = operator(program, "keys-create"), program.slug
        if sandboxed:
            workspace = terminal.settings.workspace or SANDBOX
            scope = await _sandbox(program, scope, workspace)
        until = scope.now + expires if isinstance(expires, timedelta) else expires
        wish = KeyWish(name=name, roles=roles, permissions=scopes, expires_at=until, account=owner, only=limits)
        async with program.database.transaction(scope) as tx:
            made, text = await create_key(tx, wish, domains=domain_names(), giver=None)
        return MadeKey(
            id=id_text(KEY_PREFIX, made.id),
            name=made.name,
            kind=made.kind,
            workspace=workspace,
            roles=made.roles,
            scopes=made.permissions,
            expires_at=made.expires_at,
            key=text.text,
        )

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.key))
    until = f"until {moment(made.expires_at)} UTC" if made.expires_at else "until it is revoked"
    say(f"{made.id} opens the workspace {made.workspace} {until}; it is not shown again, so keep it in a safe place")


@command.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option("--overlap", type=Duration(), default="1d", show_default=True, help="How long the old key goes on.")
@at_terminal
def rotate(terminal: Terminal, key_id: str, overlap: timedelta) -> None:
    """Make the key that follows another, shown this once.

    It has the same grants and the same length of life. The new key goes to stdout.

    Example: isthmus keys rotate key_01KAX3V9Q2M4T8Z5N7P6R1S0WD --overlap 7d > key.txt
    """
    own = id_of(KEY_PREFIX, key_id, fix="List them: isthmus keys ls")

    async def work(program: Program) -> MadeKey:
        async with program.database.transaction(operator(program, "keys-rotate")) as tx:
            made, text = await rotate_key(tx, own, overlap=overlap, domains=domain_names(), giver=None)
        return MadeKey(
            id=id_text(KEY_PREFIX, made.id),
            name=made.name,
            kind=made.kind,
            workspace=program.slug,
            roles=made.roles,
            scopes=made.permissions,
            expires_at=made.expires_at,
            key=text.text,
        )

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.key))
    say(f"{made.id} follows {key_id}, which goes on for {short_length(int(overlap.total_seconds()))}")


@command.command("ls")
@click.option("--all", "every", is_flag=True, help="Revoked and expired ones too.")
@at_terminal
def list_all(terminal: Terminal, *, every: bool) -> None:
    """List keys, and when they were last used.

    Example: isthmus keys ls --all
    """
    now = SystemClock().now()
    found = [_view(each, now=now) for each in terminal.transact("keys", lambda tx, _: _all(tx))]
    shown = [each for each in found if every or each.status == "active"]
    terminal.answer(shown, lambda: _show(shown, now=now))
    if len(shown) < len(found) and not terminal.as_json:
        say(f"{len(found) - len(shown)} revoked or expired: isthmus keys ls --all")


@command.command("revoke")
@click.argument("key_id", metavar="ID")
@at_terminal
def revoke(terminal: Terminal, key_id: str) -> None:
    """End a key for ever.

    Within a second no server accepts it.

    Example: isthmus keys revoke key_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(KEY_PREFIX, key_id, fix="List them: isthmus keys ls")

    found = _view(terminal.transact("keys-revoke", lambda tx, _: revoke_key(tx, own)), now=SystemClock().now())
    terminal.answer(
        found, lambda: click.echo(f"{found.id} ({found.name}) is revoked since {moment(found.revoked_at)} UTC")
    )


async def _sandbox(program: Program, scope: Scope, slug: str) -> Scope:
    """Return the scope in a sandbox, which is made where it is missing; raises LiveWorkspace."""
    own = await workspace_id(program.database, slug, create=True, kind="sandbox")
    async with program.database.plain() as connection:
        row = await (await connection.execute("select kind from workspace where id = %s", (own,))).fetchone()
    if row is None or row[0] == "live":
        raise LiveWorkspace(f"The workspace {slug!r} is live.", fix="Leave --test away, or name a sandbox.")
    return Scope(workspace=own, actor=scope.actor, cause=scope.cause, now=scope.now)


def _limits(only: tuple[str, ...]) -> dict[str, frozenset[UUID]]:
    """Return the records that options name; fails for what is no record type."""
    found: dict[str, set[UUID]] = {}
    for each in only:
        name, _, text = each.partition("=")
        record_type = schema().types.get(name)
        if record_type is None:
            raise click.UsageError(f"{name!r} is no record type; use one of {', '.join(schema().types)}.")
        found.setdefault(name, set()).add(id_of(record_type.prefix, text, fix="Check the id."))
    return {name: frozenset(ids) for name, ids in found.items()}


async def _all(tx: Transaction) -> list[ApiKey]:
    found: list[ApiKey] = []
    while True:
        page = await list_keys(tx, limit=_PAGE, after=found[-1].id if found else None)
        found += page
        if len(page) < _PAGE:
            return found


def _view(key: ApiKey, *, now: datetime) -> KeyView:
    expired = key.expires_at is not None and key.expires_at <= now
    return KeyView(
        id=id_text(KEY_PREFIX, key.id),
        name=key.name,
        kind=key.kind,
        status="revoked" if key.revoked_at else "expired" if expired else "active",
        roles=key.roles,
        scopes=key.permissions,
        created_at=key.created_at,
        created_by=key.created_by,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def _show(found: list[KeyView], *, now: datetime) -> None:
    rows = [
        {
            "id": each.id,
            "name": each.name,
            "kind": each.kind,
            "may": ", ".join((*each.roles, *each.scopes)),
            "status": each.status,
            "expires": moment(each.expires_at) or "never",
            "last used": ago(each.last_used_at, now=now),
        }
        for each in found
    ]
    empty = "no keys; make one: isthmus keys create --help"
    table(rows, columns=("id", "name", "kind", "may", "status", "expires", "last used"), empty=empty)
