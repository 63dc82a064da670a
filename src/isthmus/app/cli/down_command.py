"""`isthmus down`."""

from __future__ import annotations

import click

from isthmus.app.cli.common import data_dir_option, json_option, settings_from
from isthmus.app.cli.output import print_json, say
from isthmus.app.up import stop_running


@click.command("down")
@data_dir_option
@json_option
def command(data_dir: str | None, *, as_json: bool) -> None:
    """Stop what `isthmus up` started, and wait until it has stopped."""
    stopped = stop_running(settings_from(data_dir=data_dir))
    if as_json:
        print_json({"stopped": stopped})
    else:
        say("stopped" if stopped else "nothing runs here")
