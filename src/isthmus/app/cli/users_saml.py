"""`isthmus users saml`: SAML identity providers at which people sign in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.groups import Group
from isthmus.app.cli.output import say, table
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.cli.wording import id_of, id_text
from isthmus.app.discovery import domain_names
from isthmus.app.saml_views import SamlProviderView, saml_view
from isthmus.auth.saml.providers import (
    SAML_PREFIX,
    SamlWish,
    add_saml_provider,
    list_saml_providers,
    remove_saml_provider,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isthmus.app.program import Program
    from isthmus.store.database import Transaction


class _Saml(Group):
    default = "ls"


@click.group("saml", cls=_Saml)
def saml() -> None:
    """Let people sign in by an identity provider that speaks SAML 2.0.

    Without a command the providers are listed.

    Example: isthmus users saml add --title Northwind --metadata northwind.xml --mail-domain northwind.example
    """


@saml.command("ls")
@at_terminal
def list_all(terminal: Terminal) -> None:
    """List SAML identity providers.

    Example: isthmus users saml ls
    """

    async def ask(tx: Transaction, _: Program) -> list[SamlProviderView]:
        return [saml_view(each) for each in await list_saml_providers(tx)]

    shown = terminal.transact("saml", ask)
    terminal.answer(shown, lambda: _show(shown))


@saml.command("add")
@click.option("--title", required=True, help="What the button on the sign-in page says.")
@click.option(
    "--metadata",
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="The file with the provider's metadata XML; `-` reads standard input.",
)
@click.option("--mail-domain", "mail_domains", multiple=True, help="Whose addresses become users; repeatable.")
@click.option("--role", "roles", multiple=True, help="What those may do; repeatable.")
@click.option("--email-attribute", default="", help="The attribute with the address, if it has no usual name.")
@click.option("--name-attribute", default="", help="The attribute with the person's name, if it has no usual name.")
@at_terminal
def add(
    terminal: Terminal,
    title: str,
    metadata: str,
    mail_domains: tuple[str, ...],
    roles: tuple[str, ...],
    email_attribute: str,
    name_attribute: str,
) -> None:
    """Set a provider up by its metadata.

    Register our metadata there; its path is told. Without --mail-domain only those come in who are users already, by
    their address.

    Example: isthmus users saml add --title Northwind --metadata northwind.xml --mail-domain northwind.example
    """
    wish = SamlWish(
        title=title,
        metadata=_read(metadata),
        roles=roles,
        mail_domains=mail_domains,
        email_attribute=email_attribute,
        name_attribute=name_attribute,
    )

    async def work(program: Program) -> SamlProviderView:
        async with program.database.transaction(operator(program, "saml-add")) as tx:
            return saml_view(await add_saml_provider(tx, program.vault, wish, domains=domain_names(), giver=None))

    made = terminal.run(work)
    terminal.answer(made, lambda: click.echo(made.id))
    say(f"register our metadata there: <address of isthmus>{made.our_metadata}")


@saml.command("rm")
@click.argument("provider_id", metavar="ID")
@at_terminal
def remove(terminal: Terminal, provider_id: str) -> None:
    """Let nobody sign in by a provider any more; open sessions stay.

    Example: isthmus users saml rm saml_01KAX3V9Q2M4T8Z5N7P6R1S0WD
    """
    own = id_of(SAML_PREFIX, provider_id, fix="List them: isthmus users saml ls")

    async def work(tx: Transaction, program: Program) -> None:
        await remove_saml_provider(tx, program.vault, own)

    terminal.transact("saml-rm", work)
    removed = {"id": id_text(SAML_PREFIX, own), "removed": True}
    terminal.answer(removed, lambda: click.echo(f"{removed['id']} is removed"))


def _read(metadata: str) -> str:
    try:
        if metadata == "-":
            return sys.stdin.buffer.read().decode()
        return Path(metadata).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{metadata} is no text in UTF-8. Export the provider's metadata as XML.") from error


def _show(shown: Sequence[SamlProviderView]) -> None:
    rows = [
        {
            "id": each.id,
            "title": each.title,
            "entity": each.entity,
            "mail domains": ", ".join(each.mail_domains) or "users only",
            "roles": ", ".join(each.roles),
            "our metadata": each.our_metadata,
        }
        for each in shown
    ]
    empty = "no SAML providers; add one: isthmus users saml add --help"
    table(rows, columns=("id", "title", "entity", "mail domains", "roles", "our metadata"), empty=empty)
