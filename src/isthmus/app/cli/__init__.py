"""The command line. Help imports nothing, and commands are loaded when they are called.

Data goes to stdout, talk to stderr. Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 denied, 5 conflict,
6 unavailable, 130 interrupted.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from isthmus.kernel.errors import IsthmusError

COMMANDS = {
    "up": "Start everything on this machine.",
    "down": "Stop what `up` started.",
    "demo": "Start with a made-up company and watch five domains agree.",
    "doctor": "Check engines, migrations, keys, disk and clock, and say the fix.",
    "connect": "Connect systems of record, and see how they are.",
    "sync": "Pull, push and plan; watch runs; retry what was rejected.",
    "import": "Import a CSV, Parquet or NDJSON file.",
    "conflicts": "See and settle what waits for a person.",
    "mapping": "Say which fields flow, in which direction, changed how.",
    "match": "See who is probably one, merge them, take that back.",
    "discrepancies": "See how far systems agree, field by field.",
    "reconcile": "Compare what systems hold with what is held of them, and mend it.",
    "events": "See what happens, read it again, retry what failed.",
    "webhooks": "Have events told to addresses, see what was sent, send it again.",
    "jobs": "See what waits, runs and has ended; start, cancel, try again.",
    "schedule": "See when jobs come by themselves; move, pause, run, fill.",
    "workflows": "See and edit what is done step by step; start, pause, cancel.",
    "keys": "Make, list, rotate and revoke API keys.",
    "roles": "Make roles of your own, and see what each role allows.",
    "policy": "Keep policies, try a change over last week, explain a decision.",
    "limits": "See and set limits and quotas, and see what was used.",
    "threats": "See what detectors found, let callers go, say what detectors may do.",
    "upstreams": "Put services of your own behind the gate.",
    "clients": "Register programs that ask for OAuth tokens.",
    "users": "Let people into the console: invite, roles, links, shut out.",
    "alerts": "See what alarms, look after it, say where it is told.",
    "audit": "Search the log of who did what.",
    "query": "Ask the database, read-only.",
    "attribute": "Attribute outcomes to touches from files, without a server.",
    "bench": "Measure against named peers.",
    "new": "Write a folder that works, to begin a connector from.",
    "completion": "Print the completion script of a shell.",
}
ABOUT = "Make a company's five revenue systems agree: sync, one gate, answers and trust in one program."
EPILOG = "Each command has --help. Data goes to stdout, talk to stderr; --json gives one JSON document."
_EXIT_OF_STATUS = {401: 4, 403: 4, 404: 3, 409: 5, 412: 5, 422: 1, 503: 6}


def main() -> None:
    """Run the command line and exit with the code of what happened."""
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        sys.stdout.write(help_text())
        return
    from isthmus.app.cli.group import run

    run()


def help_text() -> str:
    """Return what `isthmus --help` says."""
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name.ljust(width)}  {about}" for name, about in COMMANDS.items())
    return f"""Usage: isthmus [OPTIONS] COMMAND [ARGS]...

  {ABOUT}

Options:
  --version   Show the version and exit.
  -h, --help  Show this message and exit.

Commands:
{commands}

  {EPILOG}
"""


def exit_code(error: IsthmusError) -> int:
    """Return the code with which a command ends that met the error."""
    return _EXIT_OF_STATUS.get(error.status, 1)
