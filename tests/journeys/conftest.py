"""An ERP of its own for the journeys, and a workspace that is connected to it."""

from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest

from isthmus.app.clock import SystemClock
from isthmus.app.counterparts.tryton import TrytonServer, tryton
from isthmus.app.discovery import connectors
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine
from tests.journeys.agreeing import Agreement


@pytest.fixture(scope="session")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    """A real Tryton with its small company; the first run on a machine builds it, which takes a minute."""
    with tryton(tmp_path_factory.mktemp("erp"), report=print) as server:
        yield server


@pytest.fixture
async def agreement(store: Store, workspace: int, erp: TrytonServer) -> AsyncIterator[Agreement]:
    """A workspace that is connected with the ERP and holds what is there."""
    engine = Engine(store=store, clock=SystemClock(), chance=Random(7), connectors=connectors())
    both = Agreement(store=store, engine=engine, workspace=workspace, server=erp, login=erp.login())
    await both.connect()
    await both.settle()
    yield both
    both.tidy()
