"""Workflows as this program runs them: the subjects that domains declare, and the job that takes runs forward."""

import asyncio
import os
import pkgutil
import random
import socket
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import LiteralString, Protocol, cast

import isthmus.domains
from isthmus.app.program import Program
from isthmus.app.syncing import sync_engine
from isthmus.kernel.clock import Clock, milliseconds
from isthmus.kernel.ids import ENTROPY_BYTES, mint
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import Backoff, Kind
from isthmus.stream.jobs.queue import Holder
from isthmus.stream.jobs.work import Work
from isthmus.stream.jobs.worker import Worker
from isthmus.stream.workflows.advance import Crew, Turn, step, steps_together
from isthmus.stream.workflows.runs import STEP
from isthmus.stream.workflows.shelf import install
from isthmus.stream.workflows.subject import Subject, Subjects
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from isthmus.vault import entropy

OTHERS_S = 0.1
_DUE: LiteralString = """
select exists (select from job where workspace = current_workspace() and kind = %s and status in ('pending', 'running')
                  and due_at <= %s)
"""


class Holding(Protocol):
    """What steps work with."""

    @property
    def store(self) -> Store:
        """The store."""
        ...

    @property
    def engine(self) -> Engine:
        """What running connections needs."""
        ...


class Held:
    """The store and the engine by themselves."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine with its store."""
        self.store: Store = engine.store
        self.engine: Engine = engine


@cache
def subjects() -> Subjects[Holding]:
    """Return `WORKFLOWS` of every domain that has `workflows.py`; raises TypeError where it is no tuple of them."""
    found: list[Subject[Holding]] = []
    for module in pkgutil.iter_modules(isthmus.domains.__path__):
        path = f"isthmus.domains.{module.name}.workflows"
        if not module.ispkg or find_spec(path) is None:
            continue
        declared: object = getattr(import_module(path), "WORKFLOWS", None)
        if not isinstance(declared, tuple):
            message = f"{path} must define WORKFLOWS: tuple[Subject, ...]"
            raise TypeError(message)
        found += cast("tuple[Subject[Holding], ...]", declared)
    return Subjects[Holding].of(found)


def crew_of(holding: Holding) -> Crew[Holding]:
    """Return who takes runs forward."""
    store = holding.store
    return Crew(schema=store.schema, vault=store.vault, subjects=subjects(), context=holding)


async def installed(tx: Transaction) -> None:
    """See that a workspace has the standard workflows of all domains."""
    for each in subjects().by_type.values():
        await install(tx, each.type, each.standards)


async def take_step(work: Work, context: Holding) -> Json:
    """Take a run forward."""
    return await step(work, crew_of(context))


async def take_steps(works: Sequence[Work], context: Holding) -> None:
    """Take many runs forward."""
    await steps_together(works, crew_of(context))


KINDS: tuple[Kind[Holding], ...] = (
    Kind(
        name=STEP,
        about="Take a run of a workflow forward.",
        run=take_step,
        together=take_steps,
        arguments=Turn,
        by_hand=False,
        run_s_max=300.0,
    ),
)


def stepper(engine: Engine, clock: Clock, *, only: frozenset[int] | None = None, slots: int = 4) -> Worker[Holding]:
    """Return a worker that takes runs forward and does nothing else."""
    return Worker(
        database=engine.store.database,
        clock=clock,
        kinds=KINDS,
        context=Held(engine),
        holder=Holder(
            id=mint(unix_ms=milliseconds(clock.now()), entropy=entropy(ENTROPY_BYTES)),
            worker=f"{socket.gethostname()}:{os.getpid()}:workflows",
        ),
        backoff=Backoff(chance=random.Random(int.from_bytes(entropy(8)))),
        slots=slots,
        only=only,
    )


async def drained(program: Program) -> int:
    """Take every run of the program's workspace as far as it goes now; returns how many steps that were."""
    worker = stepper(sync_engine(program), program.clock, only=frozenset({program.workspace}))
    await worker.drain()
    while await _due(program):
        # Another worker is at them, or was when it died.
        await asyncio.sleep(OTHERS_S)
        await worker.mend()
        await worker.drain()
    return worker.done


async def _due(program: Program) -> bool:
    async with program.database.transaction(program.scope(actor="system:workflows", cause="workflows")) as tx:
        row = await (await tx.connection.execute(_DUE, (STEP, tx.scope.now))).fetchone()
    return bool(row and row[0])
