"""`isthmus clients`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from msgspec import Struct

from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import id_of, moment
from isthmus.app.discovery import domain_names
from isthmus.auth.oauth.clients import (
    CLIENT_PREFIX,
    CLIENTS_MAX,
    CODE,
    DEVICE,
    EXCHANGE,
    MACHINE,
    REFRESH,
    Client,
    ClientWish,
    Method,
    list_clients,
    register_client,
    remove_client,
    rotate_secret,
)

if TYPE_CHECKING:
    from datetime import datetime

    from isthmus.kernel.marks import Json

_GRANTS = {"code": CODE, "refresh": REFRESH, "machine": MACHINE, "device": DEVICE, "exchange": EXCHANGE}
_SHORT = {name: short for short, name in _GRANTS.items()}
_LIST_THEM = "List them: isthmus clients ls"


class MadeClient(Struct, frozen=True, kw_only=True):
    """A program with its secret, which is shown this once; public programs and those with keys have none."""

    client_id: str
    name: str
    method: str
    grants: list[str]
    scopes: list[str]
    client_secret: str | None


class ClientView(Struct, frozen=True, kw_only=True):
    """A registered program without its secret."""

    client_id: str
    name: str
    method: str
    status: str
    grants: list[str]
    scopes: list[str]
    redirects: list[str]
    audience: str | None
    back_channel_logout: str | None
    created_at: datetime
    created_by: str
    rotated_at: datetime | None
    removed_at: datetime | None


class _Clients(Group):
    default = "ls"


@click.group("clients", cls=_Clients)
def command() -> None:
    """Register, list and remove programs that ask for OAuth tokens.

    A program's secret is shown once and stored as a digest. Without a command the programs are listed.

    Example: isthmus clients add --name Reporting --grant machine --scope sales:read
    """


@command.command("add")
@click.option("--name", required=True, help="What people see when it asks them for access.")
@click.option(
    "--grant",
    "grants",
    multiple=True,
    type=click.Choice(list(_GRANTS)),
    help="How it gets tokens: code and refresh (for a person), device, machine (for itself), exchange; repeatable.",
)
@click.option("--scope", "scopes", multiple=True, help="What it may ever ask for, such as sales:read; repeatable.")
@click.option("--redirect", "redirects", multiple=True, help="An address that codes are sent to; repeatable.")
@click.option("--public", is_flag=True, help="It runs with its user (mobile, desktop, browser) and keeps no secret.")
@click.option(
    "--keys", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its public keys, a JWKS file."
)
@click.option("--audience", help="The resource it serves: others may ask for tokens to it.")
@click.option("--back-channel-logout", help="Where it is told that a person's session ended, an https address.")
@at_terminal
def add(  # noqa: PLR0913 - one parameter for each option.
    terminal: Terminal,
    name: str,
    grants: tuple[str, ...],
    scopes: tuple[str, ...],
    redirects: tuple[str, ...],
    *,
    public: bool,
    keys: Path | None,
    audience: str | None,
    back_channel_logout: str | None,
) -> None:
    """Register a program; its secret is shown this once.

    The secret itself goes to stdout; what is said about it goes to stderr. POST /api/v1/clients knows some more wishes.

    Example: isthmus clients add --name Portal --grant code --scope openid --redirect https://portal.example/back
    """
    method: Method = "none" if public else "private_key_jwt" if keys else "secret"
    wish = ClientWish(
        name=name,
        method=method,
        grants=tuple(_GRANTS[each] for each in grants),
        scopes=scopes,
        redirects=redirects,
        audience=audience,
        keys=_read_keys(keys) if keys else None,
        back_channel_logout=back_channel_logout,
    )

    client, secret = terminal.transact(
        "clients-add", lambda tx, _: register_client(tx, wish, domains=domain_names(), giver=None)
    )
    _tell(terminal, client, secret)


@command.command("ls")
@click.option("--all", "every", is_flag=True, help="Removed ones too.")
@at_terminal
def list_all(terminal: Terminal, *, every: bool) -> None:
    """List registered programs.

    Example: isthmus clients ls --all
    """
    found = [
        _view(each)
        for each in terminal.transact("clients", lambda tx, _: list_clients(tx, limit=10 * CLIENTS_MAX, every=every))
    ]
    terminal.answer(found, lambda: _show(found))


@command.command("rotate")
@click.argument("client_id", metavar="ID")
@at_terminal
def rotate(terminal: Terminal, client_id: str) -> None:
    """Give a program another secret; the one before holds for a day longer.

    Example: isthmus clients rotate client_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(CLIENT_PREFIX, client_id, fix=_LIST_THEM)

    client, secret = terminal.transact("clients-rotate", lambda tx, _: rotate_secret(tx, own))
    _tell(terminal, client, secret)


@command.command("rm")
@click.argument("client_id", metavar="ID")
@at_terminal
def remove(terminal: Terminal, client_id: str) -> None:
    """End a program and all its tokens for ever.

    Within a second no server accepts them.

    Example: isthmus clients rm client_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(CLIENT_PREFIX, client_id, fix=_LIST_THEM)

    found = _view(terminal.transact("clients-rm", lambda tx, _: remove_client(tx, own)))
    terminal.answer(
        found, lambda: click.echo(f"{found.client_id} ({found.name}) is removed since {moment(found.removed_at)} UTC")
    )


def _read_keys(path: Path) -> dict[str, Json]:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise click.UsageError(f"{path} is no JSON.") from error
    if not isinstance(found, dict):
        raise click.UsageError(f"{path} holds no JWKS.")
    return cast("dict[str, Json]", found)


def _tell(terminal: Terminal, client: Client, secret: str | None) -> None:
    made = MadeClient(
        client_id=client.client_id,
        name=client.name,
        method=client.method,
        grants=client.grants,
        scopes=client.scopes,
        client_secret=secret,
    )
    terminal.answer(made, lambda: click.echo(secret or made.client_id))
    say(f"{made.client_id} is the client_id of {made.name}")
    if secret is not None:
        say("its secret is not shown again, so keep it in a safe place")


def _view(client: Client) -> ClientView:
    return ClientView(
        client_id=client.client_id,
        name=client.name,
        method=client.method,
        status="removed" if client.removed_at else "active",
        grants=client.grants,
        scopes=client.scopes,
        redirects=client.redirects,
        audience=client.audience,
        back_channel_logout=client.back_channel_logout,
        created_at=client.created_at,
        created_by=client.created_by,
        rotated_at=client.rotated_at,
        removed_at=client.removed_at,
    )


def _show(found: list[ClientView]) -> None:
    rows = [
        {
            "id": each.client_id,
            "name": each.name,
            "proves itself by": {"none": "nothing (public)", "private_key_jwt": "its keys"}.get(each.method, "secret"),
            "gets tokens by": ", ".join(_SHORT.get(grant, grant) for grant in each.grants),
            "scopes": " ".join(each.scopes),
            "status": each.status,
        }
        for each in found
    ]
    empty = "no programs; register one: isthmus clients add --help"
    table(rows, columns=("id", "name", "proves itself by", "gets tokens by", "scopes", "status"), empty=empty)
