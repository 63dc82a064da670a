"""What all jobs work with."""

from collections.abc import Callable
from dataclasses import dataclass

from isthmus.gateway import Services
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine


@dataclass(frozen=True, kw_only=True)
class JobContext:
    """The store, what running connections needs, and a way to what answers questions, made when it is asked for."""

    store: Store
    engine: Engine
    services: Callable[[], Services]
