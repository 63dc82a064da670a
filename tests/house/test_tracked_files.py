"""What is committed is the product: no trace of the machine it was written on, no address it was fetched from."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from tests.house.sources import HOUSE, Finding

# Put together from pieces, so that this file does not report itself.
MACHINE_PATHS = re.compile(
    "(?<![\\w.:/-])/(?:"
    + "|".join(
        ("work" + "/", "farm" + "/", "root" + r"/\.", "tmp" + "/bash", "opt" + "/(?:wheels|pypi)", "home" + r"/\w")
    )
    + ")|/Users"
    + r"/\w"
)
REGISTRIES = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            *(("pypi", "org"), ("pythonhosted", "org"), ("registry", "npmjs", "org"), ("proxy", "golang", "org")),
            *(("deb", "debian", "org"), ("security", "debian", "org"), ("ftp", "debian", "org"), ("jsdelivr", "net")),
            *(("unpkg", "com"), ("cdnjs", "cloudflare", "com"), ("registry", "yarnpkg", "com")),
        )
    )
)
LOCK_ADDRESS = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--default-index|--find-links|-[if])\b|https?://|file://|(?:^|\s)@ "
)


def tracked(root: Path) -> list[PurePosixPath]:
    """Return the files git keeps for a tree, as they lie on disk."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached"],  # noqa: S607 - git is found by PATH
        cwd=root,
        check=True,
        capture_output=True,
    )
    files = [PurePosixPath(name) for name in listed.stdout.decode().split("\0") if name]
    if not files:
        raise FileNotFoundError("git keeps no file here; the check would have checked nothing.")
    return [file for file in files if (root / file).is_file()]


def leaks(root: Path) -> Iterator[Finding]:
    """A path or address of the author's machine is wrong on every other machine.

    It fails for the next person, tells strangers about a network, and once committed it stays in history. The lock is
    looked at most closely: a lock with addresses installs from where its author did, or not at all.
    """
    for file in tracked(root):
        if file.name == "uv.lock":
            yield Finding(file, 1, "uv.lock records download addresses: `git rm --cached uv.lock`; it is git-ignored.")
            continue
        content = (root / file).read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            if found := MACHINE_PATHS.search(line):
                yield Finding(file, number, f"{found[0]!r} is a path of one machine: make it relative, or an argument.")
            if found := REGISTRIES.search(line):
                yield Finding(file, number, f"{found[0]!r} is a registry's host: say which package, not where it lies.")
            if file.suffix == ".lock" and (found := LOCK_ADDRESS.search(line)):
                yield Finding(file, number, f"{found[0]!r} is an address in a lock: write it with tools/lock.py.")


def test_tracked_files_hold_no_machine_path_and_no_registry_host() -> None:
    assert "\n".join(str(finding) for finding in leaks(HOUSE)) == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "Open " + "/work" + "/main and run it\n"),
        ("notes.md", "it is in " + "/root" + "/.cache\n"),
        ("settings.py", "HOST = 'https://files." + "pythonhosted" + ".org/packages'\n"),
        ("page.html", "<script src='//cdn." + "jsdelivr" + ".net/x.js'></script>\n"),
        ("requirements.lock", "--index" + "-url https://example.org/simple\n"),
        ("other.lock", "a @ file" + ":///wheels/a.whl\n"),
        ("uv.lock", "version = 1\n"),
    ],
)
def test_a_leak_in_a_tracked_file_is_reported(tmp_path: Path, name: str, text: str) -> None:
    _repository(tmp_path, name, text)
    assert f"{name}:1: " in "\n".join(str(finding) for finding in leaks(tmp_path))


def test_relative_paths_and_package_names_are_fine(tmp_path: Path) -> None:
    _repository(
        tmp_path, "README.md", "See src/network/a.py, https://example.com/opt-in/plan and the package on PyPI.\n"
    )
    assert list(leaks(tmp_path)) == []


def test_a_tree_without_tracked_files_is_an_error(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # noqa: S607 - git is found by PATH
    with pytest.raises(FileNotFoundError):
        list(leaks(tmp_path))


def _repository(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text, "utf-8")
    for command in (["git", "init", "-q"], ["git", "add", "--force", name]):
        subprocess.run(command, cwd=root, check=True)
