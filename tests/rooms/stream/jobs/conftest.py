"""A shop in a workspace of the test's own."""

import pytest

from isthmus.kernel.clock import FrozenClock
from isthmus.store.database import Database
from tests.conftest import NOW
from tests.rooms.stream.jobs.shop import Shop


@pytest.fixture
async def shop(database: Database, workspace: int) -> Shop:
    """Workers and a clock."""
    return Shop(database=database, workspace=workspace, clock=FrozenClock(NOW))
