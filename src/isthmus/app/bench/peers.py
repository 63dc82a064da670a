"""What we are measured beside, and what to do where it is not there."""

from importlib.metadata import PackageNotFoundError, version

from isthmus.kernel.errors import NotFound


class PeerMissing(NotFound):
    """A program or a package that we are measured beside is not on this machine."""

    code, title = "peer-missing", "A peer is missing"


def versions_of(*packages: str, group: str) -> dict[str, str]:
    """Return the versions of packages; raises PeerMissing for the first that is not installed.

    `group` is the group of dependencies that they stand in.
    """
    found: dict[str, str] = {}
    for each in packages:
        try:
            found[each] = version(each)
        except PackageNotFoundError as error:
            fix = f"Install what stands in the group {group!r}: uv sync --group {group}"
            raise PeerMissing(f"{each} is not installed.", fix=fix) from error
    return found
