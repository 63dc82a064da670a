"""Reading the code as the house checks see it: one `Source` per file, one `Finding` per broken rule."""

import ast
import gc
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

HOUSE = Path(__file__).resolve().parents[2]
PACKAGE = PurePosixPath("src/isthmus")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path from the project's root, its text and its syntax tree."""

    path: PurePosixPath
    text: str
    tree: ast.Module

    @property
    def room(self) -> str | None:
        """The room the file belongs to, or nothing for tests, tools and the package's own front."""
        if not self.path.is_relative_to(PACKAGE):
            return None
        inside = self.path.relative_to(PACKAGE).parts
        return inside[0] if len(inside) > 1 else None

    @property
    def is_test(self) -> bool:
        """Whether the file is run by pytest and never shipped."""
        return self.path.parts[0] == "tests" or self.path.name.startswith("test_")

    @property
    def module(self) -> str:
        """The dotted name it is imported by, for files of the package."""
        inside = self.path.relative_to("src").with_suffix("")
        return ".".join(inside.parent.parts if inside.name == "__init__" else inside.parts)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A place that breaks a rule, and how to mend it."""

    path: PurePosixPath
    line: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.sentence}"


Check = Callable[[Source], Iterator[Finding]]


def read(root: Path, *folders: str) -> tuple[Source, ...]:
    """Parse every Python file under the folders of a tree; a tree without any is an error, not a success."""
    files = sorted(file for folder in folders for file in (root / folder).rglob("*.py"))
    if not files:
        raise FileNotFoundError(f"No Python file under {folders}; the check would have checked nothing.")
    # Trees hold no garbage, and searching millions of their nodes for some takes four times as long as parsing.
    gc.disable()
    try:
        return tuple(_parse(root, file) for file in files)
    finally:
        gc.enable()


def _parse(root: Path, file: Path) -> Source:
    text = file.read_text("utf-8")
    return Source(PurePosixPath(file.relative_to(root).as_posix()), text, ast.parse(text, filename=str(file)))


def report(check: Check, sources: Iterable[Source]) -> str:
    """Return every finding of a check, one per line; the empty string is a clean house."""
    return "\n".join(str(finding) for finding in sorted(found for source in sources for found in check(source)))


def words(name: str) -> frozenset[str]:
    """Return the lower-case words of an identifier: `CampaignTouch_id` gives campaign, touch and id."""
    return frozenset(word.lower() for word in WORD.findall(name))


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Map each local name that an import binds to what it stands for: `dt` to `datetime.datetime`."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                bound[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return bound


def dotted(node: ast.expr, bound: dict[str, str]) -> str | None:
    """Return the imported thing an expression names, such as `datetime.datetime.now`, else nothing."""
    if isinstance(node, ast.Name):
        return bound.get(node.id)
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value, bound)):
        return f"{owner}.{node.attr}"
    return None


def references(source: Source) -> Iterator[tuple[ast.expr, str]]:
    """Yield every name or attribute that stands for something imported, with what it stands for."""
    bound = imported_names(source.tree)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (meaning := dotted(node, bound)):
            yield node, meaning
