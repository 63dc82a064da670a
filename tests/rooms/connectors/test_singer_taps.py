"""A tap that others wrote is read as it is; programs that fail are told in words, and none outlives its reader."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from isthmus.connectors.singer import CONNECTOR
from isthmus.connectors.singer.conformance import STREAMS, TAP
from isthmus.kernel.marks import Json
from isthmus.sync.connector import ConnectorError, NotAsDocumented, Page
from isthmus.sync.programs import HIDDEN, Program, ProgramFailed, Running
from tests.counterparts import TAPS, require_libraries

JSONL = """
[customers]
type = "sales.account"
key = "id"
updated_at = "_sdc_last_modified"
[customers.fields]
name = "name"
"""
KEY = "key-of-the-shop"
LATER_S = 60


def written(path: Path, rows: list[dict[str, Json]], *, later_s: int = 0) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + later_s))


async def read(settings: Mapping[str, str]) -> list[Page]:
    async with CONNECTOR.open(dict(settings)) as session:
        return [page async for page in session.read("customers", cursor=None)]


def rows_of(pages: list[Page]) -> list[tuple[str, Json]]:
    return [(raw.external_id, raw.body["name"]) for page in pages for raw in page.rows]


async def test_a_tap_of_the_meltano_sdk_is_read_from_its_own_state(tmp_path: Path) -> None:
    rows = tmp_path / "customers.jsonl"
    written(rows, [{"id": 1, "name": "Lamps", "note": "not mapped"}, {"id": 2, "name": "Oil", "note": ""}])
    config = {"path": str(rows), "stream_name": "customers", "primary_keys": ["id"]}
    program = require_libraries(TAPS) / "tap-jsonl"
    settings = {"command": str(program), "config": json.dumps(config), "streams": JSONL}
    async with CONNECTOR.open(settings) as session:
        first = [page async for page in session.read("customers", cursor=None)]
        written(rows, [{"id": 2, "name": "Fine oil", "note": ""}], later_s=LATER_S)
        second = [page async for page in session.read("customers", cursor=first[-1].cursor)]
    assert rows_of(first) == [("1", "Lamps"), ("2", "Oil")]
    assert [set(raw.body) for page in first for raw in page.rows] == [{"id", "name", "_sdc_last_modified"}] * 2
    assert rows_of(second) == [("2", "Fine oil")]
    assert second[-1].cursor != first[-1].cursor


def scripted(home: Path, body: str, **more: str) -> dict[str, str]:
    """Return settings of a tap that discovers rightly, and then does what a script does."""
    script = home / "tap.py"
    record = json.dumps({"type": "RECORD", "stream": "customers", "record": {"id": "1"}})
    script.write_text(
        "import runpy, sys, time\n"
        f"if '--discover' in sys.argv:\n    runpy.run_path({str(TAP)!r}, run_name='__main__')\n"
        f"else:\n    print({record!r}, flush=True)\n    {body}\n",
        "utf-8",
    )
    (home / "rows.json").write_text("[]", "utf-8")
    config = json.dumps({"rows": str(home / "rows.json"), "key": KEY})
    command = f"{sys.executable} -I -S {script}"
    return {"command": command, "config": config, "streams": STREAMS} | more


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (f"sys.exit('ERROR the key {KEY} is too old')", f"ended with 1: ERROR the key {HIDDEN} is too old"),
        ("sys.exit(3)", "ended with 3: it said not why"),
        ("import os; os.kill(os.getpid(), 9)", "ended with 137"),
        (f"print('signed in with {KEY}')", f"no message: signed in with {HIDDEN}"),
    ],
)
async def test_what_a_tap_told_before_it_failed_is_read_and_the_failure_told(
    tmp_path: Path, body: str, words: str
) -> None:
    seen: list[str] = []
    async with CONNECTOR.open(scripted(tmp_path, body)) as session:
        found = session.read("customers", cursor=None)
        seen += [raw.external_id for raw in (await anext(found)).rows]
        with pytest.raises(ConnectorError) as caught:
            await anext(found)
    assert seen == ["1"]
    assert words in caught.value.detail
    assert KEY not in caught.value.detail
    assert caught.value.fix


async def test_a_tap_that_hangs_is_ended(tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        with pytest.raises(ProgramFailed, match="said nothing for 1 seconds"):
            await read(scripted(tmp_path, "time.sleep(600)", quiet_s="1"))


async def test_a_program_that_is_no_tap_is_told(tmp_path: Path) -> None:
    settings = scripted(tmp_path, "pass") | {"command": "/bin/echo"}
    async with CONNECTOR.open(settings) as session:
        with pytest.raises(NotAsDocumented, match="--discover told no catalog"):
            await session.check()


async def test_a_tap_gets_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_KEY", KEY)
    program = Program(title="env", command=("/usr/bin/env",), home=tmp_path)
    async with Running(program) as running:
        told = {line.partition(b"=")[0] async for line in running}
    assert told <= {b"HOME", b"TMPDIR", b"PATH", b"LC_ALL", b"PYTHONUTF8", b"PWD", b"SHLVL", b"_"}


@asynccontextmanager
async def sleeping(home: Path) -> AsyncGenerator[tuple[Running, int]]:
    """Run a program that started another one, and yield the number of that."""
    program = Program(title="sh", command=("/bin/sh", "-c", "sleep 600 & echo $!; wait"), home=home)
    async with Running(program) as running:
        yield running, int(await anext(running))


async def gone(number: int) -> bool:
    """Tell whether a program ends within a while; what nobody waits for may stay as a zombie."""
    for _ in range(500):
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.02)
                continue
        return True
    return False


async def test_what_a_tap_started_ends_with_the_reading(tmp_path: Path) -> None:
    async with sleeping(tmp_path) as (_, number):
        assert psutil.pid_exists(number)
    assert await gone(number)


async def test_a_tap_ends_when_its_reader_is_killed(tmp_path: Path) -> None:
    reader = f"""
import asyncio
from pathlib import Path
from isthmus.sync.programs import Program, Running
async def main():
    command = ("/bin/sh", "-c", "sleep 600 & echo $!; wait")
    async with Running(Program(title="sh", command=command, home=Path({str(tmp_path)!r}))) as running:
        print(int(await anext(running)), flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", reader, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    number = int(await process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    await process.wait()
    assert await gone(number)


async def test_the_check_names_the_streams_that_are_connected_and_those_that_are_not(tmp_path: Path) -> None:
    for streams, words in (
        (STREAMS, "customers becomes sales.account; not connected: crm-notes"),
        ("{}", "no streams are mapped; not connected: crm-customers, crm-notes"),
    ):
        async with CONNECTOR.open(scripted(tmp_path, "pass", streams=streams)) as session:
            assert (await session.check()).endswith(words)
