"""`isthmus completion`."""

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    Use it so: eval "$(isthmus completion bash)"
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    from isthmus.app.cli.group import cli

    click.echo(kind(cli, {}, "isthmus", "_ISTHMUS_COMPLETE").source())
