"""A gateway of each test's own."""

import pytest

from isthmus.store.database import Scope
from isthmus.sync.ingest import Store
from tests.rooms.domains.desk import Desk


@pytest.fixture
def desk(store: Store, scope: Scope) -> Desk:
    """Somebody who calls the interface, in the test's workspace, at a moment that stands still."""
    return Desk.of(store, scope)
