"""`isthmus connect authorize`: a person's consent at a vendor, from a terminal."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import click

from isthmus.app.cli.common import operator
from isthmus.app.cli.output import say
from isthmus.app.cli.terminal import Terminal, at_terminal
from isthmus.app.connecting import access_of, answer_of, connector_named
from isthmus.app.discovery import connectors
from isthmus.app.syncing import sync_engine
from isthmus.sync import consenting
from isthmus.sync.connections import all_settings, connection_of
from isthmus.sync.consenting import LIFE, ConsentOver, Returned

if TYPE_CHECKING:
    from asyncio import Future, StreamReader, StreamWriter

    from isthmus.app.program import Program

REDIRECT = "http://localhost:8765/callback"
_LOOPBACK, _HEAD_BYTES_MAX = ("localhost", "127.0.0.1"), 1 << 16
_PAGE = (
    b"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nReferrer-Policy: no-referrer\r\n"
    b"Connection: close\r\n\r\n%s\n"
)
_GOOD = _PAGE % (b"200 OK", b"Go back to the terminal: isthmus goes on there. You can close this page.")
_OTHER = _PAGE % (b"404 Not Found", b"There is nothing here.")


@click.command("authorize")
@click.argument("name")
@click.option(
    "--redirect-uri",
    default=REDIRECT,
    show_default=True,
    help="Where the vendor sends the browser back; it has to stand with your program there, letter by letter.",
)
@at_terminal
def authorize(terminal: Terminal, name: str, redirect_uri: str) -> None:
    """Consent at the vendor, in a browser.

    The address to open is printed. When the browser is on this machine, its way back ends here by itself; when it is on
    another, copy the address at which it ended, whatever it shows, and paste it here.

    Example: isthmus connect authorize books
    """

    async def work(program: Program) -> tuple[str, str]:
        engine = sync_engine(program)
        async with program.database.transaction(operator(program, "connect-authorize")) as tx:
            found = await connection_of(tx, name)
            known = connector_named(connectors(), found.connector)
            begun = await consenting.begin(tx, program.vault, known, found, redirect_uri=redirect_uri)
        click.echo(begun.url, err=terminal.as_json)
        say("open this address and consent; then wait, or paste the address at which the browser ended")
        returned = await _returned(redirect_uri)
        scope = operator(program, "connect-authorize")
        kept = await consenting.complete(engine, scope, returned)
        async with program.database.transaction(scope) as tx:
            settings = await all_settings(tx, program.vault, kept)
        access = access_of(program, kept, known, settings, scope=scope)
        return kept.name, await answer_of(known, settings, name=kept.name, access=access)

    name, answer = terminal.run(work)
    terminal.answer(
        {"name": name, "answers_as": answer}, lambda: click.echo(f"connected {name}, which answers as {answer}")
    )
    if not terminal.as_json:
        say(f"next: isthmus sync run {name}")


async def _returned(redirect_uri: str) -> Returned:
    """Wait for the browser, or for a line that is pasted; raises ConsentOver after ten minutes."""
    came: Future[str] = asyncio.get_running_loop().create_future()
    try:
        async with asyncio.timeout(LIFE.total_seconds()), AsyncExitStack() as stack:
            parts = urlsplit(redirect_uri)
            if parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.port:
                await _listened(stack, came, port=parts.port, path=parts.path or "/")
            _pasted(stack, came)
            address = await came
    except TimeoutError as error:
        raise ConsentOver("Nobody consented within ten minutes.", fix="Begin again.") from error
    query = parse_qs(urlsplit(address.strip()).query)
    return Returned(**{key: query.get(key, [""])[0] for key in ("state", "code", "error", "iss")})


async def _listened(stack: AsyncExitStack, came: Future[str], *, port: int, path: str) -> None:
    """Take what a browser on this machine comes back with."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        line = (await reader.readline()).decode("latin-1").split(" ")
        ours = len(line) > 1 and urlsplit(line[1]).path == path and "state=" in line[1]
        writer.write(_GOOD if ours else _OTHER)
        await writer.drain()
        writer.close()
        if ours and not came.done():
            came.set_result(line[1])

    try:
        server = await asyncio.start_server(answer, "127.0.0.1", port, limit=_HEAD_BYTES_MAX)
    except OSError:
        say(f"port {port} is taken: paste the address at which the browser ended")
    else:
        stack.callback(server.close)


def _pasted(stack: AsyncExitStack, came: Future[str]) -> None:
    """Take a line that somebody pastes."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        line = sys.stdin.readline()
        if not line:
            loop.remove_reader(sys.stdin)
        elif line.strip() and not came.done():
            came.set_result(line)

    try:
        loop.add_reader(sys.stdin, read)
    except (PermissionError, ValueError):
        # A file is not waited for: it is read at once.
        read()
    else:
        stack.callback(loop.remove_reader, sys.stdin)
