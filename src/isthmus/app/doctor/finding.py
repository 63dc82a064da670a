"""What a check finds."""

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec import Struct

from isthmus.kernel.errors import IsthmusError

State = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True, kw_only=True):
    """One check: how it is, what was found, and what to do when it is not well."""

    check: str
    state: State
    found: str
    fix: str = ""


def ok(check: str, found: str) -> Finding:
    """Return that it is well."""
    return Finding(check=check, state="ok", found=found)


def warn(check: str, found: str, *, fix: str) -> Finding:
    """Return that somebody should look at it."""
    return Finding(check=check, state="warn", found=found, fix=fix)


def fail(check: str, found: str, *, fix: str) -> Finding:
    """Return that it does not work, or is not safe."""
    return Finding(check=check, state="fail", found=found, fix=fix)


def refused(check: str, error: IsthmusError) -> Finding:
    """Return an error as what was found."""
    return fail(check, error.detail, fix=error.fix)


def guarded(check: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Yield what a check finds; an expected error or a file that cannot be read is a finding too."""
    try:
        yield from look()
    except IsthmusError as error:
        yield refused(check, error)
    except OSError as error:
        yield fail(check, f"{error.filename}: {error.strerror}.", fix="Run as the owner of the data directory.")
