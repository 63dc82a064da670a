# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: pyarrow ships no types.
"""Importing files: mapped, tried dry, stored once, and precise about every row and file that is wrong."""

import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus.kernel.status import Status
from isthmus.store.rejected import Kept, open_rejects
from isthmus.sync.files import dry_run, import_file, propose_mapping
from isthmus.sync.mappings import FileMapping, MappingUnfit, Source, mapping_of, mappings, save_mapping
from isthmus.sync.mending import retry_rejects
from isthmus.sync.readers import FileUnusable
from isthmus.sync.runs import Run
from tests.rooms.sync.conftest import Bench

MTIME = datetime(2026, 10, 1, 12, 0, tzinfo=UTC).timestamp()
LEADS = FileMapping(
    type="sales.lead",
    system="webinar",
    fields={
        "email": Source(column="E-Mail", transforms=("trim", "lower")),
        "first_name": Source(column="First name"),
        "company": Source(column="Company"),
        "company_size": Source(column="Size"),
        "expected_value": Source(column="Value", currency="EUR"),
        "captured_at": Source(column="When", format="%d.%m.%Y %H:%M", zone="Europe/Brussels"),
        "source": Source(constant="webinar_registration"),
    },
    id_column="No",
)
HEADER = "No,E-Mail,First name,Company,Size,Value,When"
GOOD = "1, Ada@Ada.example,Ada,Ada & Co,12,1000.50,03.10.2026 14:00"


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """Write a file with a time of change that stands still."""
    path.write_bytes(text.encode(encoding))
    os.utime(path, (MTIME, MTIME))
    return path


async def _import(bench: Bench, path: Path, mapping: FileMapping = LEADS) -> Run:
    bench.tick()
    return await import_file(bench.engine, workspace=bench.workspace, actor="user:ada", path=path, mapping=mapping)


async def _rejects(bench: Bench) -> list[Kept]:
    return await bench.read(lambda tx: open_rejects(tx, bench.store.vault, system="webinar"))


async def test_a_csv_file_is_stored_and_stored_again_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    path = written(tmp_path / "leads.csv", f"\ufeff{HEADER}\n{GOOD}\n2,bob@bob.example,Bob,Bob Ltd,,,\n")
    run = await _import(bench, path)
    assert (run.kind, run.about, run.status) == ("import", "leads.csv", Status.HEALTHY)
    assert (run.read, run.created, run.rejected, run.total) == (2, 2, 0, 2)
    ada, bob = await bench.records("sales.lead")
    assert ada.values["email"] == "ada@ada.example"
    assert ada.values["company_size"] == 12
    assert ada.values["expected_value"] == {"amount": "1000.50", "currency": "EUR"}
    assert ada.values["captured_at"] == "2026-10-03T12:00:00Z"
    assert (bob.values["company_size"], bob.values["source"]) == (None, "webinar_registration")
    again = await _import(bench, path)
    assert (again.created, again.changed, again.unchanged) == (0, 0, 2)
    assert await bench.rows("select count(*) from claim where workspace = current_workspace()") == [(2,)]


async def test_rows_that_cannot_be_stored_are_kept_by_line_and_gone_when_the_file_is_mended(
    bench: Bench, tmp_path: Path
) -> None:
    path = tmp_path / "leads.csv"
    rows = ["2,not an address,Bob,Bob Ltd,,,", "3,cyd@cyd.example,Cyd,Cyd,many,,", "4,dan@dan.example,Dan"]
    written(path, "\n".join([HEADER, GOOD, *rows]))
    run = await _import(bench, path)
    assert (run.status, run.read, run.created, run.rejected) == (Status.DEGRADED, 4, 1, 3)
    kept = {each.code: each.reason for each in await _rejects(bench)}
    assert kept.keys() == {"invalid-email", "unreadable-cell", "unreadable-line"}
    assert kept["invalid-email"].startswith("Line 3: /email: ")
    assert kept["unreadable-cell"].startswith("Line 4: /company_size: ")
    assert kept["unreadable-line"].startswith("Line 5: /: It has 3 of 7 cells")
    assert await bench.rows("select count(*) from rejected where run_id = %s", run.id) == [(3,)]
    run = await _import(bench, path)
    assert (run.created, run.rejected, len(await _rejects(bench))) == (0, 3, 3)
    written(path, f"{HEADER}\n{GOOD}\n2,bob@bob.example,Bob,Bob Ltd,,,\n3,c@cyd.example,Cyd,Cyd,9,,")
    run = await _import(bench, path)
    assert (run.status, run.created, await _rejects(bench)) == (Status.HEALTHY, 2, [])


async def test_a_kept_row_is_stored_when_it_is_retried_after_what_it_waited_for(bench: Bench, tmp_path: Path) -> None:
    people = FileMapping(
        type="sales.person",
        system="webinar",
        id_column="id",
        fields={"email": Source(column="email"), "account_id": Source(column="firm")},
    )
    firms = FileMapping(type="sales.account", system="webinar", id_column="id", fields={"name": Source(column="name")})
    run = await _import(bench, written(tmp_path / "people.csv", "id,email,firm\n1,ada@ada.example,F7\n"), people)
    assert (run.created, run.rejected) == (0, 1)
    await _import(bench, written(tmp_path / "firms.csv", "id,name\nF7,Ada & Co\n"), firms)
    done, _ = await retry_rejects(bench.store, bench.scope(), system="webinar")
    assert (done.stored, done.left) == (1, 0)
    assert (await bench.only("sales.person")).values["account_id"] == str((await bench.only("sales.account")).id)


async def test_a_quote_that_is_not_closed_costs_its_rows_only(bench: Bench, tmp_path: Path) -> None:
    path = written(tmp_path / "leads.csv", f'{HEADER}\n{GOOD}\n2,bob@bob.example,"Bob,Bob Ltd,,,\n3,cut')
    run = await _import(bench, path)
    assert (run.created, run.rejected) == (1, 1)
    (kept,) = await _rejects(bench)
    assert kept.reason.startswith("Line 3: /: Unexpected end of data: a quote is not closed")


async def test_a_parquet_file_keeps_its_types_and_needs_no_ids(bench: Bench, tmp_path: Path) -> None:
    table = pa.table(
        {
            "email": ["ada@ada.example", "bob@bob.example"],
            "first_name": ["Ada", "Bob"],
            "company": ["Ada & Co", None],
            "company_size": [12, None],
            "expected_value": pa.array([Decimal("1000.50"), None], pa.decimal128(12, 2)),
            "currency": ["eur", None],
            "captured_at": [datetime(2026, 10, 3, 12, 0, tzinfo=UTC), None],
            "tags": [["vip", "webinar"], None],
        }
    )
    path = tmp_path / "leads.parquet"
    pq.write_table(table, path)
    proposal = propose_mapping(bench.store, path, type_name="sales.lead", system="list")
    assert proposal.missing == ()
    assert {each.column: each.field for each in proposal.columns}["currency"] == "expected_value"
    run = await _import(bench, path, proposal.mapping)
    assert (run.read, run.created, run.total, run.rejected) == (2, 2, 2, 0)
    ada, bob = await bench.records("sales.lead")
    assert ada.values["expected_value"] == {"amount": "1000.50", "currency": "EUR"}
    assert (ada.values["tags"], bob.values["company"]) == (["vip", "webinar"], None)
    run = await _import(bench, path, proposal.mapping)
    assert (run.created, run.changed, run.unchanged) == (0, 0, 2)


async def test_an_ndjson_file_is_read_line_by_line(bench: Bench, tmp_path: Path) -> None:
    lines = [
        '{"No": 1, "E-Mail": "ada@ada.example", "Own": "x"}',
        "{broken",
        '["no object"]',
        '{"No": 2, "E-Mail": "b@b.example"}',
    ]
    mapping = FileMapping(
        type="sales.lead",
        system="webinar",
        id_column="No",
        fields={"email": Source(column="E-Mail"), "custom.own": Source(column="Own")},
    )
    run = await _import(bench, written(tmp_path / "leads.ndjson", "\n".join(lines)), mapping)
    assert (run.created, run.rejected) == (2, 2)
    ada, bob = await bench.records("sales.lead")
    assert (ada.values["custom"], bob.values["custom"]) == ({"own": "x"}, None)
    assert [each.reason[:10] for each in await _rejects(bench)] == ["Line 2: /:", "Line 3: /:"]


async def test_a_dry_run_tells_what_would_happen_and_stores_nothing(bench: Bench, tmp_path: Path) -> None:
    path = written(tmp_path / "leads.csv", f"{HEADER}\n{GOOD}\n2,not an address,Bob,Bob Ltd,,,\n3,cut\n")
    told = await dry_run(bench.engine, workspace=bench.workspace, path=path, mapping=LEADS)
    assert (told.rows, told.good, told.rejected) == (3, 1, 2)
    assert [each.line for each in told.rejects] == [3, 4]
    assert told.samples[0]["email"] == "ada@ada.example"
    assert await bench.records("sales.lead") == []
    assert await _rejects(bench) == []


async def test_a_mapping_is_saved_and_found_by_its_name(bench: Bench) -> None:
    await bench.read(lambda tx: save_mapping(tx, name="webinar leads", mapping=LEADS))
    assert await bench.read(lambda tx: mapping_of(tx, "webinar leads")) == LEADS
    assert await bench.read(mappings) == {"webinar leads": LEADS}


async def test_a_missing_column_is_named_with_what_is_there_and_nothing_is_stored(bench: Bench, tmp_path: Path) -> None:
    path = written(tmp_path / "leads.csv", f"{HEADER.replace('E-Mail', 'Email address')}\n{GOOD}\n")
    with pytest.raises(
        MappingUnfit, match="no column 'E-Mail'; the nearest is 'Email address'; it has 'No', "
    ) as error:
        await _import(bench, path)
    assert [each.code for each in error.value.faults] == ["missing-column"]
    assert await bench.rows("select id from run where workspace = current_workspace()") == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("leads.csv", b"", "is empty"),
        ("leads.csv", b"a,b,a\n1,2,3\n", "has the columns 'a' twice"),
        ("leads.csv", b"\n\n", "has no header line"),
        ("leads.csv", b"No,E-Mail\n1,Andr\xe9\n", r"is not utf-8: line 2, byte 17"),
        ("leads.csv", "No,E-Mail\n1,x\n".encode("utf-16-le"), "holds NUL bytes"),
        ("leads.ndjson", b"[1]\n", "holds no JSON objects"),
        ("leads.xlsx", b"PK", "ends in '.xlsx'"),
        ("leads.parquet", b"PAR1 cut short", "is not a whole Parquet file"),
    ],
)
async def test_a_file_that_cannot_be_read_says_why(
    bench: Bench, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileUnusable, match=says) as error:
        await _import(bench, path)
    assert error.value.fix
    assert await bench.records("sales.lead") == []


async def test_a_parquet_file_that_was_cut_short_says_so(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "leads.parquet"
    pq.write_table(pa.table({"email": ["ada@ada.example"] * 100, "day": [date(2026, 10, 1)] * 100}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FileUnusable, match="is not a whole Parquet file"):
        await _import(bench, path)
