"""`isthmus upstreams`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click
from msgspec import Struct, ValidationError, convert, structs

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.discovery import domain_names
from isthmus.app.upstreams.assembling import rules_of
from isthmus.app.upstreams.calling import Calling
from isthmus.app.upstreams.reach import reach_of
from isthmus.app.upstreams.register import (
    USE,
    NewUpstream,
    UpstreamRefused,
    add_upstream,
    list_upstreams,
    remove_upstream,
)
from isthmus.kernel.errors import IsthmusError, Unavailable

if TYPE_CHECKING:
    from isthmus.app.program import Program
    from isthmus.store.database import Transaction

_GOOD_BELOW = 400


class Checked(Struct, frozen=True, kw_only=True):
    """How an upstream answered when it was asked from here, now."""

    name: str
    well: bool
    answer: str
    milliseconds: int | None = None


class _Upstreams(Group):
    default = "ls"


@click.group("upstreams", cls=_Upstreams)
def command() -> None:
    """Put services of your own behind the gate.

    They are called under /up/NAME/ with the same keys, permissions, policies and limits as everything else, and learn
    who calls by a short signed token. Without a command they are listed.

    Example: isthmus upstreams add billing http://10.1.0.5:9000 --health-path /health
    """


@command.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List the services behind the gate.

    Example: isthmus upstreams ls
    """
    found = terminal.run(_listed)
    rows = [
        {
            "name": each.name,
            "path": f"/up/{each.name}/",
            "url": each.url,
            "permission": each.permission,
            "hosts": " ".join(each.hosts),
            "health": each.health_path,
        }
        for each in found
    ]
    columns = ("name", "path", "url", "permission", "hosts", "health")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none; add one: isthmus upstreams add NAME URL"))


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("--permission", default=USE, show_default=True, help="What a caller needs.")
@click.option("--host", "hosts", multiple=True, help="A host name that leads to it too. Can be repeated.")
@click.option("--connect-ms", type=int, default=2_000, show_default=True, help="How long a connection may take.")
@click.option("--first-byte-ms", type=int, default=30_000, show_default=True, help="How long an answer may take.")
@click.option("--idle-ms", type=int, default=60_000, show_default=True, help="How long a pause may be.")
@click.option("--retries", type=int, default=1, show_default=True, help="How often to repeat what is safe to repeat.")
@click.option("--health-path", default="", help="Where to ask whether it is well.")
@click.option("--health-s", type=int, default=10, show_default=True, help="How often to ask.")
@at_terminal
def add(terminal: Terminal, /, hosts: tuple[str, ...], **given: object) -> None:
    """Put a service behind the gate, in force within a second.

    Addresses of your own networks are called only where the setting upstream_allow names them.

    Example: isthmus upstreams add billing https://billing.example.com --permission finance:read
    """
    try:
        wanted = convert({**given, "hosts": list(hosts)}, NewUpstream)
    except ValidationError as error:
        raise UpstreamRefused(f"It cannot be registered: {error}.", fix="See isthmus upstreams add --help.") from error
    rules = rules_of(reach_of(terminal.settings), domains=domain_names())

    made = terminal.transact("upstreams-add", lambda tx, _: add_upstream(tx, wanted, rules=rules))
    terminal.answer(made, lambda: say(f"{made.name} is called under /up/{made.name}/ by whoever has {made.permission}"))


@command.command("rm")
@click.argument("name")
@at_terminal
def remove(terminal: Terminal, name: str) -> None:
    """Take a service away from behind the gate, in force within a second.

    Example: isthmus upstreams rm billing
    """

    async def work(tx: Transaction, _: Program) -> None:
        await remove_upstream(tx, name)

    terminal.transact("upstreams-rm", work)
    terminal.answer({"removed": name}, lambda: say(f"{name} is no longer behind the gate"))


@command.command("health")
@at_terminal
def health(terminal: Terminal) -> None:
    """Ask each service now whether it is well; ends with code 6 when one is not.

    Example: isthmus upstreams health
    """

    async def work(program: Program) -> list[Checked]:
        calling = Calling(reach_of(program.settings).outbound)
        try:
            return [await _checked(calling, each) for each in await _listed(program)]
        finally:
            await calling.close()

    found = terminal.run(work)
    rows = [{**structs.asdict(each), "well": "yes" if each.well else "no"} for each in found]
    columns = ("name", "well", "answer", "milliseconds")
    terminal.answer(found, lambda: table(rows, columns=columns, empty="none; add one: isthmus upstreams add NAME URL"))
    if ill := [each.name for each in found if not each.well]:
        raise Unavailable(f"Not well: {', '.join(ill)}.", fix="Look at the services, and at what they answered.")


async def _listed(program: Program) -> list[NewUpstream]:
    async with program.database.transaction(operator(program, "upstreams")) as tx:
        return await list_upstreams(tx)


async def _checked(calling: Calling, upstream: NewUpstream) -> Checked:
    began = time.monotonic()
    try:
        status, took_s = await calling.check(upstream)
    except IsthmusError as error:
        took_s = time.monotonic() - began
        return Checked(name=upstream.name, well=False, answer=error.detail, milliseconds=round(took_s * 1000))
    well = status < _GOOD_BELOW
    return Checked(name=upstream.name, well=well, answer=str(status), milliseconds=round(took_s * 1000))
