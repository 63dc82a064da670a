"""What the page needs of the program: what kinds of jobs there are, and who takes an event again that failed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isthmus.sync.letters import Finder


@dataclass(frozen=True, kw_only=True)
class KindWords:
    """What jobs of a kind do, in a sentence, and the permission that starting them takes."""

    about: str
    permission: str

    @property
    def title(self) -> str:
        """What they do, without the full stop."""
        return self.about.rstrip(".")


@dataclass(frozen=True, kw_only=True)
class Workings:
    """The kinds of jobs by name, and what finds a consumer by its name."""

    kinds: Callable[[], Mapping[str, KindWords]]
    find: Finder
