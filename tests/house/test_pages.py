"""The pages tell the truth about what can be checked: their links lead somewhere, their tables match the code."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from isthmus.kernel.errors import IsthmusError
from tests.house.sources import HOUSE, Finding

LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)|(?:src|srcset|href)=\"(?P<attribute>[^\"\s]+)\"")
ELSEWHERE = re.compile(r"[a-z]+:|#")


def dead_links(root: Path) -> Iterator[Finding]:
    """A page that points to nothing costs every reader a search, and tells them that nobody reads it.

    Looked at: links and images in Markdown that lead to files of this tree.
    """
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("news/*.md"), *root.glob("src/**/*.md")]
    if not pages:
        raise FileNotFoundError("No page here; the check would have checked nothing.")
    for page in sorted(pages):
        for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
            for found in LINK.finditer(line):
                target = found["target"] or found["attribute"]
                if not ELSEWHERE.match(target) and not (page.parent / target.partition("#")[0]).exists():
                    path = PurePosixPath(page.relative_to(root).as_posix())
                    yield Finding(path, number, f"{target} does not exist: mend the link, or add what it promises.")


def test_every_link_leads_somewhere() -> None:
    assert "\n".join(str(finding) for finding in dead_links(HOUSE)) == ""


def test_a_dead_link_or_image_is_reported(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text('[a](docs/a.md)\n<img src="b.png">\n[self](README.md#top)\n', "utf-8")
    found = [str(finding) for finding in dead_links(tmp_path)]
    assert [line.split(" does")[0] for line in found] == ["README.md:1: docs/a.md", "README.md:2: b.png"]


def test_the_page_of_errors_has_every_error_of_the_tree() -> None:
    page = (HOUSE / "docs/reference/errors.md").read_text("utf-8")
    tree = [kind for kind in IsthmusError.__subclasses__() if kind.__module__ == "isthmus.kernel.errors"]
    missing = [kind for kind in tree if f"| `{kind.__name__}` | {kind.status} | `{kind.code}` |" not in page]
    assert tree
    assert missing == []


def test_every_page_of_the_docs_is_listed_in_an_index() -> None:
    docs = HOUSE / "docs"
    listed = {
        (index.parent / found["target"]).resolve()
        for index in (docs / "index.md", docs / "decisions/index.md")
        for found in LINK.finditer(index.read_text("utf-8"))
        if found["target"] and not ELSEWHERE.match(found["target"])
    }
    pages = {page.resolve() for page in docs.rglob("*.md")} - {(docs / "index.md").resolve()}
    assert sorted(page.relative_to(HOUSE).as_posix() for page in pages - listed) == []
