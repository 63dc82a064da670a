"""`isthmus users provider`: identity providers at which people sign in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import id_of, id_text
from isthmus.app.discovery import domain_names
from isthmus.auth.upstream.issuers import ISSUER_PREFIX, Issuer, IssuerWish, add_issuer, list_issuers, remove_issuer
from isthmus.auth.upstream.speaking import metadata_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


class ProviderView(Struct, frozen=True, kw_only=True):
    """An identity provider."""

    id: str
    title: str
    issuer: str
    client: str
    roles: list[str]
    mail_domains: list[str]


class _Providers(Group):
    default = "ls"


@click.group("provider", cls=_Providers)
def provider() -> None:
    """Let people sign in by an identity provider (OpenID Connect).

    Without a command the providers are listed.

    Example: isthmus users provider add --title Northwind --issuer https://id.example.com --client isthmus
    """


@provider.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List identity providers.

    Example: isthmus users provider ls
    """
    shown = [_view(each) for each in terminal.transact("providers", lambda tx, _: list_issuers(tx))]
    terminal.answer(shown, lambda: _show(shown))


@provider.command("add")
@click.option("--title", required=True, help="What the button on the sign-in page says.")
@click.option("--issuer", required=True, help="The provider's address, exactly as it names itself.")
@click.option("--client", required=True, help="The client id that the provider knows us by.")
@click.option(
    "--secret-file", type=click.Path(exists=True, dir_okay=False), help="A file that holds the client secret."
)
@click.option("--mail-domain", "mail_domains", multiple=True, help="Whose addresses become users; repeatable.")
@click.option("--role", "roles", multiple=True, help="What those may do; repeatable.")
@click.option("--internal", is_flag=True, help="It stands in a network of one's own, where TLS may be missing.")
@at_terminal
def add(
    terminal: Terminal,
    title: str,
    issuer: str,
    client: str,
    secret_file: str | None,
    mail_domains: tuple[str, ...],
    roles: tuple[str, ...],
    *,
    internal: bool,
) -> None:
    """Set a provider up; it is asked for its metadata first.

    Register https://<address of isthmus>/sign-in/upstream/back there as redirect URI. Without --mail-domain only those
    come in who are users already, by their verified address.

    Example: isthmus users provider add --title Northwind --issuer https://id.example.com --client isthmus
    """
    secret = Path(secret_file).read_text(encoding="utf-8").strip() if secret_file else ""
    wish = IssuerWish(
        title=title,
        issuer=issuer,
        client=client,
        secret=secret,
        internal=internal,
        roles=roles,
        mail_domains=mail_domains,
    )

    async def work(program: Program) -> Issuer:
        async with program.database.transaction(operator(program, "providers-add")) as tx:
            made = await add_issuer(tx, program.vault, wish, domains=domain_names(), giver=None)
            await metadata_of(made)
            return made

    made = _view(terminal.run(work))
    terminal.answer(made, lambda: click.echo(made.id))
    say(f"people sign in by {made.title}; its redirect URI is <address of isthmus>/sign-in/upstream/back")


@provider.command("rm")
@click.argument("provider_id", metavar="ID")
@at_terminal
def remove(terminal: Terminal, provider_id: str) -> None:
    """Let nobody sign in by a provider any more; open sessions stay.

    Example: isthmus users provider rm idp_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(ISSUER_PREFIX, provider_id, fix="List them: isthmus users provider ls")

    async def work(tx: Transaction, _: Program) -> None:
        await remove_issuer(tx, own)

    terminal.transact("providers-rm", work)
    removed = {"id": id_text(ISSUER_PREFIX, own), "removed": True}
    terminal.answer(removed, lambda: click.echo(f"{removed['id']} is removed"))


def _view(issuer: Issuer) -> ProviderView:
    return ProviderView(
        id=id_text(ISSUER_PREFIX, issuer.id),
        title=issuer.title,
        issuer=issuer.issuer,
        client=issuer.client,
        roles=issuer.roles,
        mail_domains=issuer.mail_domains,
    )


def _show(shown: Sequence[ProviderView]) -> None:
    rows = [
        {
            "id": each.id,
            "title": each.title,
            "issuer": each.issuer,
            "mail domains": ", ".join(each.mail_domains) or "users only",
            "roles": ", ".join(each.roles),
        }
        for each in shown
    ]
    empty = "no identity providers; add one: isthmus users provider add --help"
    table(rows, columns=("id", "title", "issuer", "mail domains", "roles"), empty=empty)
