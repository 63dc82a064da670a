"""`isthmus up`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from isthmus.app.cli.common import data_dir_option, json_option, settings_from, workspace_option
from isthmus.app.cli.output import print_json, say
from isthmus.app.links import first_link
from isthmus.app.program import MAIN
from isthmus.app.running import found
from isthmus.app.up import ROLES, Up, detach, start_up

if TYPE_CHECKING:
    from isthmus.app.settings import Settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("up")
@data_dir_option
@workspace_option
@click.option("--host", help="Address to listen on (default: 127.0.0.1). Others need TLS.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on (default: 8080).")
@click.option(
    "--role", "roles", type=click.Choice([*ROLES, "all"]), multiple=True, help="Only these roles; repeatable."
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes that answer calls (default: 1).")
@click.option("--tls-certificate", type=_FILE, help="Certificate chain, PEM.")
@click.option("--tls-key", type=_FILE, help="Private key of the certificate, PEM.")
@click.option("--detach", "detached", is_flag=True, help="Go on in the background; `isthmus down` stops it.")
@click.option("--demo", "with_demo", is_flag=True, help="Load the made-up company.")
@json_option
def command(  # noqa: PLR0913 - one parameter for each option.
    data_dir: str | None,
    workspace: str | None,
    host: str | None,
    port: int | None,
    roles: tuple[str, ...],
    workers: int | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    *,
    detached: bool,
    with_demo: bool,
    as_json: bool,
) -> None:
    """Start everything on this machine: engines, migrations, API, worker, relay, scheduler, console.

    Prints the address and, the first time only, a one-time link for the administrator. Ctrl-C stops it cleanly.
    """
    settings = settings_from(
        data_dir=data_dir,
        workspace=workspace or ("demo" if with_demo else MAIN),
        host=host,
        port=port,
        workers=workers,
        tls_certificate=tls_certificate.absolute() if tls_certificate else None,
        tls_key=tls_key.absolute() if tls_key else None,
    )
    running = found(settings.data_dir)
    if running is not None:
        say(f"isthmus runs already (process {running.pid})")
        _tell(running.url, None, as_json=as_json)
        return
    if detached:
        url = detach([each for each in sys.argv[1:] if each != "--detach"], settings)
        _tell(url, None, as_json=as_json)
        return
    chosen = ROLES if not roles or "all" in roles else roles
    _serve(settings, chosen, as_json=as_json, with_demo=with_demo)


def _serve(settings: Settings, roles: tuple[str, ...], *, as_json: bool, with_demo: bool) -> None:
    up = start_up(settings, roles=roles, say=say)
    try:
        stop_on_signals(up)
        link = asyncio.run(first_link(settings, up.engines, url=up.url))
        _tell(up.url, link, as_json=as_json)
        if with_demo:
            from isthmus.app.demo import load

            asyncio.run(load(settings, up.engines, say=say))
        say("Ctrl-C stops it")
        up.wait()
    finally:
        say("stopping")
        up.stop()


def stop_on_signals(up: Up) -> None:
    """End the program cleanly on Ctrl-C and SIGTERM."""

    def stop(*_: object) -> None:
        up.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)


def _tell(url: str, link: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "admin_link": link})
        return
    click.echo(f"isthmus answers at {url}")
    if link is not None:
        click.echo(f"sign in once with {link}")
