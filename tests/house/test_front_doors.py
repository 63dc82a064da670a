"""A room's `__init__` is its catalogue: what it lists exists."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.sources import HOUSE, Finding, Source, read


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a top-level name comes from; a name made on the spot has no module."""

    module: str | None
    name: str


def dead_entries(sources: tuple[Source, ...]) -> Iterator[Finding]:
    """What the `__all__` of a room or folder names must exist.

    A catalogue with a dead entry breaks whoever trusts it, at import, in production; and the type checker forgives
    names it cannot follow. (What is offered and not listed, ruff reports as an unused import.)
    """
    modules = {source.module: source for source in sources}
    for source in sources:
        for name, line in _listed(source.tree):
            if not _exists(name, source=source, modules=modules):
                sentence = f"__all__ names {name!r}, which does not exist: define it or take it off the list."
                yield Finding(source.path, line, sentence)


def _listed(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List(elts=items) | ast.Tuple(elts=items))
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.List(elts=items) | ast.Tuple(elts=items))
            ):
                for item in items:
                    if isinstance(item, ast.Constant) and isinstance(item.value, str):
                        yield item.value, item.lineno
            case _:
                pass


def _bound(tree: ast.Module) -> dict[str, Origin]:
    found: dict[str, Origin] = {}
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = Origin(None, name)
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = Origin(None, name)
            case ast.Assign(targets=targets):
                named = [inner for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
                found |= {inner.id: Origin(None, inner.id) for inner in named}
            case ast.ImportFrom(module=str(module), names=aliases):
                found |= {alias.asname or alias.name: Origin(module, alias.name) for alias in aliases}
            case ast.Import(names=aliases):
                found |= {alias.asname or alias.name: Origin(alias.name, "") for alias in aliases}
            case _:
                pass
    return found


def _exists(name: str, *, source: Source, modules: dict[str, Source]) -> bool:
    origin = _bound(source.tree).get(name)
    if origin is None:
        return f"{source.module}.{name}" in modules
    if origin.module is None or origin.module.partition(".")[0] != "isthmus" or not origin.name:
        return True
    if f"{origin.module}.{origin.name}" in modules:
        return True
    home = modules.get(origin.module)
    return home is not None and (home is source or _exists(origin.name, source=home, modules=modules))


def test_every_name_a_front_door_lists_exists() -> None:
    assert "\n".join(str(finding) for finding in dead_entries(read(HOUSE, "src"))) == ""


@pytest.mark.parametrize(
    "door",
    [
        '__all__ = ["put"]\n',
        'from isthmus.store.writing import push\n\n__all__ = ["push"]\n',
        'from isthmus.store.reading import push\n\n__all__ = ["push"]\n',
    ],
)
def test_a_listed_name_that_does_not_exist_is_reported(tmp_path: Path, door: str) -> None:
    room = _room(tmp_path, door)
    found = [str(finding) for finding in dead_entries(read(tmp_path, "src"))]
    assert len(found) == 1
    assert found[0].startswith(f"{room}/__init__.py:{door.count(chr(10))}: __all__ names 'pu")


def test_a_listed_name_may_be_defined_imported_or_a_file(tmp_path: Path) -> None:
    door = 'from isthmus.store.writing import put\n\nLIMIT = 1\n__all__ = ["LIMIT", "put", "writing"]\n'
    _room(tmp_path, door)
    assert list(dead_entries(read(tmp_path, "src"))) == []


def _room(tree: Path, door: str) -> str:
    room = tree / "src/isthmus/store"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text(door, "utf-8")
    (room / "writing.py").write_text("def put() -> None: ...\n", "utf-8")
    return room.relative_to(tree).as_posix()
