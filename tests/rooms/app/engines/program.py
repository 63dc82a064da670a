"""A program that runs engines as `isthmus up` does. Tests start it, talk to it line by line, and kill it.

`python program.py DATA_DIR [SETTING=VALUE…]`; it says one JSON line when its engines are ready or refused.
"""

import json
import secrets
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from isthmus.app.engines import Engines, EngineSettings, start_engines
from isthmus.kernel.errors import IsthmusError


def say(what: dict[str, object]) -> None:
    """Write one line of JSON."""
    sys.stdout.write(f"{json.dumps(what, default=str)}\n")
    sys.stdout.flush()


def present_moment() -> datetime:
    """Read the system's clock."""
    return datetime.now(UTC)


def start(arguments: list[str]) -> Engines:
    """Start the engines of the data directory that the arguments name."""
    given = dict(argument.split("=", 1) for argument in arguments[1:])
    settings = EngineSettings(data_dir=Path(arguments[0]), join_seconds=float(given.get("join_seconds", "30")))
    return start_engines(settings=settings, entropy=secrets.token_bytes, now=present_moment)


def main() -> None:
    """Start, tell, obey until the input ends."""
    try:
        engines = start(sys.argv[1:])
    except IsthmusError as refusal:
        say({"refused": refusal.code, "detail": str(refusal)})
        return
    valkey = engines.valkey.version if engines.valkey is not None else None
    say(
        {
            "supervised": engines.supervised,
            "postgres": engines.postgres.version,
            "valkey": valkey,
            "holder": engines.holder and engines.holder.pid,
            "health": [asdict(one) for one in engines.health()],
        }
    )
    for line in sys.stdin:
        if line.strip() == "health":
            say({"health": [asdict(one) for one in engines.health()]})
        else:
            engines.stop()
            say({"stopped": True})
            return


if __name__ == "__main__":
    main()
