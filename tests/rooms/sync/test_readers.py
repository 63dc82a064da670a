"""Files are read as what their names say, compressed or not, and a tolerant reader keeps the lines that are good."""

import gzip
from pathlib import Path

import pytest

from isthmus.sync.readers import Batch, FileUnusable, kind_of, reader_of

ROWS = "id,name\n1,Ada\n2,Bo\n"


def first(path: Path, *, tolerant: bool = False) -> Batch:
    return next(reader_of(path, tolerant=tolerant).batches(["id", "name"]))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv.gz", ROWS), ("a.ndjson.gz", '{"id": "1", "name": "Ada"}\n{"id": "2", "name": "Bo"}\n')],
)
def test_compressed_files_are_read(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()))
    assert {column: list(cells) for column, cells in first(path).columns.items()} == {
        "id": ["1", "2"],
        "name": ["Ada", "Bo"],
    }


def test_a_compressed_file_that_is_cut_off_is_refused_before_a_row_of_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(ROWS.encode())[:-9])
    with pytest.raises(FileUnusable, match="not a whole file of gzip"):
        reader_of(path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.CSV", ("csv", False)), ("a.2026.jsonl.gz", ("ndjson", True)), ("a.pq", ("parquet", False))],
)
def test_what_a_file_is_stands_in_its_name(name: str, kind: tuple[str, bool]) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize("name", ["a", "a.gz", "a.parquet.gz", "a.xlsx"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(FileUnusable, match="ends in"):
        kind_of(name)


def test_a_tolerant_reader_takes_the_lines_that_are_in_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,name\n1,\xff\n2,B\xc3\xb6\n")
    with pytest.raises(FileUnusable, match="line 2, byte 11"):
        reader_of(path)
    found = first(path, tolerant=True)
    assert (found.columns["name"], list(found.lines)) == (("Bö",), [3])
    assert [(each.line, each.reason) for each in found.bad] == [(2, "it is not utf-8")]


def test_a_byte_order_mark_belongs_to_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"id": "1", "name": "Ada"}\n')
    assert (first(path).columns["id"], first(path).bad) == (["1"], [])
