"""Commands whose examples can be copied, and groups of commands of which one runs when none is named."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, ClassVar

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXAMPLE, _AS_IT_STANDS = "\nExample: ", "\n\b\nExample:\n  "


class Command(click.Command):
    """A command; a paragraph of its help that begins with `Example:` is not wrapped."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        self.help = _unwrapped(self.help)
        super().format_help_text(ctx, formatter)


class Group(click.Group):
    """`default` is the command that runs when none is named; `shortcuts` are options that stand for a command."""

    command_class = Command
    default: ClassVar[str]
    shortcuts: ClassVar[Mapping[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were written."""
        del ctx
        return list(self.commands)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help."""
        self.help = _unwrapped(self.help)
        super().format_help_text(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the default command before options that belong to it."""
        if args and args[0] in self.shortcuts:
            args = [self.shortcuts[args[0]], *args[1:]]
        elif not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _unwrapped(text: str | None) -> str | None:
    return inspect.cleandoc(text).replace(_EXAMPLE, _AS_IT_STANDS) if text else text
