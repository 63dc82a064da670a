"""A new connector: a whole folder of a vendor called Acme, under another name."""

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from isthmus.kernel.errors import Conflicting, Invalid

NAME = re.compile(r"[a-z][a-z0-9_]{1,18}[a-z0-9]")
_HERE = "isthmus.app.scaffolding"
_SUFFIX, _TEST = ".txt", "test_.py"


class NameRefused(Invalid):
    """The name cannot be that of a folder of Python."""

    code, title = "name-refused", "The connector cannot be called so"


class FolderThere(Conflicting):
    """The folder is there already."""

    code, title = "folder-there", "There is such a folder already"


def write_connector(name: str, *, into: Path, described: bool = False) -> list[Path]:
    """Write the folder of a new connector and return its files; raises NameRefused and FolderThere.

    A `described` one says in values how a REST interface is used, and has no client and no mapping of its own.
    """
    if not NAME.fullmatch(name) or keyword.iskeyword(name) or "__" in name:
        raise NameRefused(
            f"{name!r} cannot be the name of a connector.", fix="Use 3 to 20 small letters, digits and _, such as acme."
        )
    folder = into / name
    if folder.exists():
        raise FolderThere(f"{folder} is there already.", fix="Choose another name, or write into that folder.")
    written: list[Path] = []
    for path, text in sorted(_templates(files(_HERE).joinpath("described" if described else "connector"), Path())):
        target = folder / (path.with_name(f"test_{name}.py") if path.name == _TEST else path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_named(text, name), "utf-8")
        written.append(target)
    return written


def _named(text: str, name: str) -> str:
    title = " ".join(word.capitalize() for word in name.split("_"))
    return (
        text.replace("Acme", title).replace("acme.example", f"{name.replace('_', '-')}.example").replace("acme", name)
    )


def _templates(folder: Traversable, path: Path) -> list[tuple[Path, str]]:
    """Return templates by the path at which they are written."""
    found: list[tuple[Path, str]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _templates(each, path / each.name)
        elif each.name.endswith(_SUFFIX):
            found.append((path / each.name.removesuffix(_SUFFIX), each.read_text("utf-8")))
    return found
