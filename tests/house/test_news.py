"""Every change a user meets has a fragment of news, in a shape the changelog can be made of."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import HOUSE

FRAGMENT = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\.(?:added|changed|fixed|removed)\.md")
LINES_MAX = 8
LINE_LENGTH_MAX = 200


def ill_formed(news: Path) -> Iterator[str]:
    """A fragment is written by whoever made the change, for whoever upgrades; many hands, one shape.

    `<topic>.<added|changed|fixed|removed>.md`, a few whole sentences, no heading: the release puts the headings.
    """
    fragments = sorted(file for file in news.iterdir() if file.name != "README.md")
    if not fragments:
        raise FileNotFoundError(f"No fragment in {news.name}; the check would have checked nothing.")
    for file in fragments:
        if not FRAGMENT.fullmatch(file.name):
            yield f"{news.name}/{file.name}: the name is not <topic>.<added|changed|fixed|removed>.md."
            continue
        text = file.read_text("utf-8")
        lines = text.strip().splitlines()
        if any(line.startswith("#") for line in lines):
            yield f"{news.name}/{file.name}: no headings; the release puts them."
        elif not lines or not lines[0][0].isupper() or not lines[-1].endswith("."):
            yield f"{news.name}/{file.name}: write whole sentences, from a capital to a full stop."
        if len(lines) > LINES_MAX or any(len(line) > LINE_LENGTH_MAX for line in lines):
            yield f"{news.name}/{file.name}: at most {LINES_MAX} lines of {LINE_LENGTH_MAX} characters."


def test_news_fragments_are_well_formed() -> None:
    assert list(ill_formed(HOUSE / "news")) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("put.new.md", "Records arrive in batches.\n"),
        ("Put_Batches.added.md", "Records arrive in batches.\n"),
        ("put.added.txt", "Records arrive in batches.\n"),
        ("put.added.md", ""),
        ("put.added.md", "batches\n"),
        ("put.added.md", "# Added\n\nRecords arrive in batches.\n"),
        ("put.added.md", "Records arrive in batches.\n" * 9),
    ],
)
def test_an_ill_formed_fragment_is_reported(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert len(list(ill_formed(tmp_path))) == 1


def test_a_well_formed_fragment_is_fine(tmp_path: Path) -> None:
    (tmp_path / "put-batches.added.md").write_text("Records arrive in batches.\n", "utf-8")
    assert list(ill_formed(tmp_path)) == []
