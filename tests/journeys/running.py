"""Running the program as a person does, and reading what it holds in words that do not depend on random ids."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from isthmus.app.program import Program, command
from isthmus.app.settings import read_settings
from isthmus.kernel.marks import Json
from isthmus.store.records import page

Ref = tuple[str, str, str]
_REFS = "select type, system, external_id, record_id, deleted from ref where system <> 'isthmus' order by 1, 2, 3"
_FOLLOW_UP = re.compile(r"follow-up:[0-9a-f-]{36}")
_CASES = "select type, record_id, field, status, kept_system, claimed_system, stake, stake_currency from inbox_case"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def start(*arguments: str, log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start `isthmus` in a session of its own; stdout and stderr go to files beside each other."""
    with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "isthmus.app.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program as the kernel does when memory ends: no word of farewell."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def holdings(data_dir: Path, *, workspace: str) -> dict[str, object]:
    """What a workspace holds: values by external id, with links named by the external ids they mean; and its cases."""
    settings = read_settings({"data_dir": data_dir, "workspace": workspace}, environ={})

    async def read() -> dict[str, object]:
        async with command(settings, progress=lambda _: None) as program:
            return await _holdings(program)

    return asyncio.run(read())


async def _holdings(program: Program) -> dict[str, object]:
    async with program.database.transaction(program.scope(actor="user:tester", cause="test")) as tx:
        refs = await (await tx.connection.execute(_REFS)).fetchall()
        names: dict[str, list[Ref]] = {}
        for kind, system, external_id, record_id, _ in refs:
            names.setdefault(str(record_id), []).append((kind, system, external_id))
        held: dict[str, object] = {}
        for kind in program.store.schema:
            after = None
            while rows := await page(tx, program.vault, kind, limit=1000, after=after):
                after = rows[-1].id
                for row in rows:
                    held[_key(names, str(row.id), kind.name, row.values)] = _named(names, row.values)
        cases = await (await tx.connection.execute(_CASES)).fetchall()
    return {
        "refs": sorted(
            (kind, system, _FOLLOW_UP.sub("follow-up", ref), deleted) for kind, system, ref, _, deleted in refs
        ),
        "records": held,
        "cases": sorted((kind, _name(names, str(record), kind), *map(str, rest)) for kind, record, *rest in cases),
    }


def _key(names: Mapping[str, list[Ref]], record_id: str, kind: str, values: dict[str, Json]) -> str:
    """What a record is called; what a follow-up made has an id of chance and is called after its lead."""
    name = _name(names, record_id, kind)
    lead = values.get("lead_id")
    return _FOLLOW_UP.sub(f"follow-up of {_name(names, lead, kind)}" if isinstance(lead, str) else "", name)


def _name(names: Mapping[str, list[Ref]], record_id: str, kind: str) -> str:
    return " ".join("/".join(each) for each in sorted(names.get(record_id, []))) or f"{kind} without a system"


def _named(names: Mapping[str, list[Ref]], values: dict[str, Json]) -> dict[str, object]:
    """Values, with ids of records replaced by what they are called in systems, and without moments of this run."""
    named: dict[str, object] = {
        field: _name(names, value, field) if isinstance(value, str) and value in names else value
        for field, value in values.items()
        if field not in ("qualified_at", "due_at")
    }
    return {**named, "steps": _steps(values)}


def _steps(values: dict[str, Json]) -> list[tuple[Json, Json]]:
    """The steps that a lead went through and how they ended, without when."""
    steps = values.get("steps")
    rows = cast("list[dict[str, Json]]", steps) if isinstance(steps, list) else []
    return [(each["kind"], each["state"]) for each in rows]
