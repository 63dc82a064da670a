"""Settings of a connector as they are given at the command line. A secret never stands in the command itself."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from isthmus.app.cli.output import say
from isthmus.app.cli.wording import Duration
from isthmus.kernel.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from isthmus.sync.connector import Connector, Setting

P = ParamSpec("P")
T = TypeVar("T")
SECRETS = "--secret {name}=@FILE, --secret {name}=env:VARIABLE, or --secret {name} to be asked for it"


class SecretMissing(NotFound):
    """The file or variable that should hold a secret is not there, or empty."""

    code, title = "secret-missing", "The secret is not there"


@dataclass(frozen=True, kw_only=True)
class Given:
    """What was given with --set and --secret, as it was written."""

    plain: tuple[str, ...]
    secret: tuple[str, ...]

    def settings(self, connector: Connector, *, ask: bool, complete: bool) -> dict[str, str]:
        """Return the settings; with `complete` a secret that has to be there and is not is asked for.

        Raises UsageError for a secret in clear, and SecretMissing.
        """
        declared = {each.name: each for each in connector.settings}
        given = dict(_pair(each) for each in self.plain)
        for name in given:
            if name in declared and declared[name].secret:
                raise click.UsageError(_never_in_clear(name))
        for each in self.secret:
            name, _, source = each.partition("=")
            given[name] = _secret(name, source, ask=ask)
        if complete and ask:
            for each in connector.settings:
                if each.secret and each.default is None and each.name not in given:
                    given[each.name] = _asked(each)
        return given


def given_options(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the options --set and --secret, as one argument `given`."""

    def gather(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> Given:
        del parameter
        return Given(plain=value, secret=context.meta.get("isthmus.secret", ()))

    def keep(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> None:
        del parameter
        context.meta["isthmus.secret"] = value

    plain = click.option(
        "--set", "given", multiple=True, metavar="KEY=VALUE", callback=gather, help="A setting; repeatable."
    )
    secret = click.option(
        "--secret",
        multiple=True,
        metavar="KEY=@FILE|KEY=env:VAR|KEY",
        callback=keep,
        expose_value=False,
        is_eager=True,
        help="A secret, from a file, from the environment, or asked for; repeatable.",
    )
    return plain(secret(command))


def every_option(command: Callable[P, T]) -> Callable[P, T]:
    """Give a command the option --every, as `every_s`."""

    def seconds(context: click.Context, parameter: click.Parameter, value: timedelta | None) -> int | None:
        del context, parameter
        return int(value.total_seconds()) if value is not None else None

    return click.option(
        "--every", "every_s", type=Duration(), callback=seconds, help="Run it that often: 60s, 15m, 6h, 1d."
    )(command)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"--set {text}: give it as KEY=VALUE.")
    return name, value


def _never_in_clear(name: str) -> str:
    return (
        f"{name} is a secret, and a command line is kept in the shell's history and seen by others. "
        f"Give it with {SECRETS.format(name=name)}."
    )


def _secret(name: str, source: str, *, ask: bool) -> str:
    if source.startswith("@"):
        return _from_file(name, Path(source[1:]).expanduser())
    if source.startswith("env:"):
        return _from_environment(name, source.removeprefix("env:"))
    if source:
        raise click.UsageError(_never_in_clear(name))
    if not ask:
        raise click.UsageError(f"Nobody can be asked for {name} here. Give it with {SECRETS.format(name=name)}.")
    return str(click.prompt(name, hide_input=True, err=True))


def _asked(setting: Setting) -> str:
    return str(click.prompt(f"{setting.name} ({setting.about.rstrip('.')})", hide_input=True, err=True))


def _from_file(name: str, path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
        shared = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretMissing(f"The file {path} with {name} cannot be read: {reason}.", fix="Check the path.") from error
    if not value:
        raise SecretMissing(f"The file {path} is empty.", fix=f"Write {name} into it.")
    if shared:
        say(f"warning: others on this machine can read {path}; fix: chmod 600 {path}")
    return value


def _from_environment(name: str, variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise SecretMissing(
            f"The variable {variable} with {name} is not set.", fix=f"Set it: read -rs {variable}; export {variable}"
        )
    return value
