#!/usr/bin/env -S uv run --no-project --python >=3.11 --script
"""Writes the lock: exact versions and hashes of everything the project needs, and no address to fetch them from.

    tools/lock.py             after a dependency was added or removed: keeps every version that still fits
    tools/lock.py --upgrade   moves every version to the newest that fits
    tools/lock.py --check     changes nothing; says what would change and exits 1

`requirements.lock` holds the pins with their hashes for every platform and Python. The same pins stand in
`pyproject.toml` as `[tool.uv] constraint-dependencies`, so that `uv run` chooses the same versions on every machine.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_PYTHON = "3.11"
PINS_OPEN = "constraint-dependencies = [\n"
PIN = re.compile(r"^(?P<pin>[A-Za-z0-9][\w.-]*==[^\s;\\]+(?:\s*;\s*[^\\]+?)?)\s*\\?$")


def pins(lock: str) -> list[str]:
    """Return each requirement of a lock with its marker and without its hashes, in the order of the lock."""
    return [found["pin"] for line in lock.splitlines() if (found := PIN.match(line))]


def with_pins(pyproject: str, wanted: list[str]) -> str:
    """Return `pyproject.toml` with its list of pins replaced; a missing list is added at the end."""
    block = PINS_OPEN + "".join(f'  "{pin}",\n' for pin in wanted) + "]\n"
    head, opening, rest = pyproject.partition(PINS_OPEN)
    if not opening:
        return f"{pyproject.rstrip()}\n\n[tool.uv]  # tools/lock.py writes this table\n{block}"
    return head + block + rest.partition("]\n")[2]


def compile_lock(*, known: Path, upgrade: bool) -> str:
    """Return the text of a fresh lock; the versions of `known` are kept where they still fit, unless `upgrade`."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "requirements.lock")
        if known.exists():
            shutil.copyfile(known, fresh)
        subprocess.run(
            # --no-config: the pins of the last lock are preferences here, not constraints.
            ["uv", "pip", "compile", "pyproject.toml", "--no-config", "--all-extras", "--group", "dev"]
            + ["--group", "bench"]
            + ["--universal", "--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-annotate", "--quiet"]
            + ["--custom-compile-command", "tools/lock.py", "--output-file", str(fresh)]
            + (["--upgrade"] if upgrade else []),
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return fresh.read_text("utf-8")


def main() -> int:
    """Write the lock, or with `--check` compare it with what would be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the lock is out of date")
    parser.add_argument("--upgrade", action="store_true", help="move every version to the newest that fits")
    asked = parser.parse_args()

    lock = ROOT / "requirements.lock"
    pyproject = ROOT / "pyproject.toml"
    fresh = compile_lock(known=lock, upgrade=asked.upgrade)
    wanted = {lock: fresh, pyproject: with_pins(pyproject.read_text("utf-8"), pins(fresh))}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if asked.check:
            print(f"{path.name} is out of date: run tools/lock.py and commit what it writes.", file=sys.stderr)
        else:
            path.write_text(wanted[path], "utf-8")
            print(f"{path.name} written, {len(pins(fresh))} pins.")
    if not stale:
        print(f"The lock is up to date, {len(pins(fresh))} pins.")
    return 1 if asked.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
