"""The shape of the code: sizes, what the kernel stands on, types, front doors, and reasons beside exceptions."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.house.conftest import Plant
from tests.house.sources import HOUSE, Finding, Source, imported_names, read, references, report

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500
OTHER_CODE = frozenset({".css", ".html", ".j2", ".js", ".mjs", ".sh", ".sql", ".toml", ".yaml", ".yml"})
EXCEPTION = re.compile(r"#\s*(?:noqa|type:\s*ignore|pyright:\s*ignore|pragma)", re.IGNORECASE)
EXCEPTION_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|pyright:\s*ignore\[\w+(?:,\s*\w+)*\])\s+(?:[-#–]+\s*)?\S+\s+\S+.*"
)


def sizes(source: Source) -> Iterator[Finding]:
    """A function fits a screen and a file fits a head: 70 lines and 500, tests too.

    Nobody writes a 9,000-line test or a 1,200-line view; they grow by a reasonable line at a time. The only moment
    when cutting is cheap is the moment the limit is met.
    """
    lines = len(source.text.splitlines())
    if lines > FILE_LINES_MAX:
        yield Finding(
            source.path, lines, f"The file has {lines} lines, at most {FILE_LINES_MAX}: split it by what it does."
        )
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                sentence = (
                    f"{node.name} has {length} lines, at most {FUNCTION_LINES_MAX}: ifs up, fors down, leaves out."
                )
                yield Finding(source.path, node.lineno, sentence)


def other_sizes(root: Path) -> Iterator[Finding]:
    """Styles, scripts, queries and templates grow like code, so they keep the size of code.

    Migrations are written by the program and never edited, so they are as long as the change they record.
    """
    for folder in ("src", "tests", "tools", "deploy"):
        for file in sorted((root / folder).rglob("*")):
            if file.suffix not in OTHER_CODE or file.parent.name == "migrations":
                continue
            if (lines := len(file.read_text("utf-8").splitlines())) > FILE_LINES_MAX:
                path = PurePosixPath(file.relative_to(root).as_posix())
                yield Finding(
                    path, lines, f"The file has {lines} lines, at most {FILE_LINES_MAX}: split it by what it does."
                )


def kernel_ground(source: Source) -> Iterator[Finding]:
    """The kernel stands on the standard library and msgspec alone.

    Every room imports the kernel, so what the kernel imports everybody pays for: at start, in every upgrade, in every
    audit of what the program contains.
    """
    if source.room != "kernel":
        return
    for node in ast.walk(source.tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        for name in names:
            first = name.partition(".")[0]
            ours = name == "isthmus.kernel" or name.startswith("isthmus.kernel.")
            if not ours and first != "msgspec" and first not in sys.stdlib_module_names:
                sentence = f"The kernel imports {name}: only the standard library and msgspec belong here."
                yield Finding(source.path, getattr(node, "lineno", 1), sentence)


def any_in_signatures(source: Source) -> Iterator[Finding]:
    """`Any` in a signature switches the type checker off for every caller, silently.

    A project that allows it early counts it in thousands later. `object` says "anything, and I look before I touch";
    a type variable says "the same as came in".
    """
    bound = imported_names(source.tree)
    aliases = {local for local, meaning in bound.items() if meaning in ("typing.Any", "typing_extensions.Any")}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        hints = [argument.annotation for argument in every if argument] + [node.returns]
        if any(_says_any(hint, aliases) for hint in hints if hint):
            yield Finding(
                source.path, node.lineno, f"{node.name} has Any in its signature: name the type, or say object."
            )


def _says_any(hint: ast.expr, aliases: set[str]) -> bool:
    for node in ast.walk(hint):
        match node:
            case ast.Name(id=name) if name in aliases:
                return True
            case ast.Attribute(attr="Any"):
                return True
            case ast.Constant(value=str(text)) if {"Any", *aliases} & set(re.findall(r"\w+", text)):
                return True
            case _:
                pass
    return False


def unexplained_exceptions(source: Source) -> Iterator[Finding]:
    """Every exception to a rule names the rule and says why, on its line.

    A bare `noqa` hides the next mistake on the line as well, and a year later nobody dares to remove it.
    """
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and EXCEPTION.match(token.string):
            for part in re.split(r"\s(?=#)", token.string):
                if EXCEPTION.match(part) and not EXCEPTION_WITH_REASON.fullmatch(token.string):
                    sentence = "An exception names its rule and its reason: `# noqa: S608 - names are quoted by us`."
                    yield Finding(source.path, token.start[0], sentence)
                    break


def private_doors(source: Source) -> Iterator[Finding]:
    """A room's `_files` are its own; others come in by the front door."""
    for node, meaning in [*references(source), *_import_statements(source)]:
        parts = meaning.split(".")
        if parts[0] == "isthmus" and len(parts) > 2 and parts[1] != source.room:
            for part in parts[2:]:
                if part.startswith("_") and not part.startswith("__"):
                    sentence = f"{meaning} is private to {parts[1]}: use what {parts[1]} lists in its front door."
                    yield Finding(source.path, node.lineno, sentence)


def _import_statements(source: Source) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def test_functions_and_files_keep_their_size() -> None:
    assert report(sizes, read(HOUSE, "src", "tests", "tools")) == ""


def test_other_files_of_code_keep_their_size(tmp_path: Path) -> None:
    assert [str(finding) for finding in other_sizes(HOUSE)] == []
    (tmp_path / "src").mkdir()
    (tmp_path / "src/page.css").write_text("a {}\n" * (FILE_LINES_MAX + 1), "utf-8")
    assert [finding.line for finding in other_sizes(tmp_path)] == [FILE_LINES_MAX + 1]


def test_a_file_or_function_over_its_size_is_reported(plant: Plant) -> None:
    long_function = "def close() -> None:\n" + "    print()\n" * FUNCTION_LINES_MAX
    assert "close has 71 lines" in report(sizes, [plant("tests/test_a.py", long_function)])
    assert "The file has 501 lines" in report(sizes, [plant("src/isthmus/sync/a.py", "A = 1\n" * (FILE_LINES_MAX + 1))])
    fitting = long_function.removesuffix("    print()\n")
    assert report(sizes, [plant("src/isthmus/sync/b.py", fitting)]) == ""


def test_the_kernel_stands_on_the_standard_library_and_msgspec() -> None:
    assert report(kernel_ground, read(HOUSE, "src")) == ""


@pytest.mark.parametrize("line", ["import numpy", "from psycopg import sql", "from isthmus.store import put"])
def test_anything_else_under_the_kernel_is_reported(plant: Plant, line: str) -> None:
    assert "a.py:1: The kernel imports" in report(kernel_ground, [plant("src/isthmus/kernel/a.py", f"{line}\n")])
    fine = plant("src/isthmus/kernel/b.py", "import msgspec\nimport uuid\nfrom isthmus.kernel.errors import Invalid\n")
    assert report(kernel_ground, [fine]) == ""


def test_no_signature_says_any() -> None:
    assert report(any_in_signatures, read(HOUSE, "src", "tests", "tools")) == ""


@pytest.mark.parametrize(
    "text",
    [
        "from typing import Any\ndef put(row: dict[str, Any]) -> None: ...\n",
        "from typing import Any as Whatever\ndef put() -> Whatever: ...\n",
        "import typing\ndef put(*rows: typing.Any) -> None: ...\n",
        "from typing import Any\ndef put(*, row: 'list[Any]') -> None: ...\n",
    ],
)
def test_any_in_a_signature_is_reported(plant: Plant, text: str) -> None:
    assert "a.py:2: put has Any" in report(any_in_signatures, [plant("src/isthmus/store/a.py", text)])


def test_every_exception_to_a_rule_says_why() -> None:
    assert report(unexplained_exceptions, read(HOUSE, "src", "tests", "tools")) == ""


@pytest.mark.parametrize(
    "comment",
    [
        "noqa",
        "noqa: S608",
        "type: ignore",
        "type: ignore[attr-defined]",
        "pyright: ignore",
        "pyright: ignore[reportAny]",
    ],
)
def test_an_exception_without_a_reason_is_reported(plant: Plant, comment: str) -> None:
    text = f"A = 1  # {comment}\n"
    assert "a.py:1: An exception names" in report(unexplained_exceptions, [plant("src/isthmus/store/a.py", text)])


@pytest.mark.parametrize(
    "comment",
    ["noqa: S608 - every name is quoted by us", "pyright: ignore[reportAny] - the driver types rows as Any"],
)
def test_an_exception_with_a_reason_is_fine(plant: Plant, comment: str) -> None:
    text = f"A = 1  # {comment}\n"
    assert report(unexplained_exceptions, [plant("src/isthmus/store/a.py", text)]) == ""


def test_private_files_are_used_by_their_own_room_only() -> None:
    assert report(private_doors, read(HOUSE, "src")) == ""


def test_a_private_file_used_from_outside_is_reported(plant: Plant) -> None:
    text = "from isthmus.store._staging import copy\n"
    assert "a.py:1: isthmus.store._staging" in report(private_doors, [plant("src/isthmus/sync/a.py", text)])
    assert report(private_doors, [plant("src/isthmus/store/b.py", text)]) == ""
