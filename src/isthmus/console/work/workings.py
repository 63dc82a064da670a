"""What the page needs of the program: what kinds of jobs there are, and who takes an event again that failed."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from isthmus.sync.letters import Finder

TITLE_MAX = 40


@dataclass(frozen=True, kw_only=True)
class KindWords:
    """What jobs of a kind do, in a sentence, and the permission that starting them takes."""

    about: str
    permission: str

    @property
    def title(self) -> str:
        """What they do, as a heading: a long sentence up to its first comma or colon."""
        whole = self.about.rstrip(".")
        return whole if len(whole) <= TITLE_MAX else re.split("[,:]", whole)[0]


@dataclass(frozen=True, kw_only=True)
class Workings:
    """The kinds of jobs by name, and what finds a consumer by its name."""

    kinds: Callable[[], Mapping[str, KindWords]]
    find: Finder
