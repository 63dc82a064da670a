"""Third-party servers that the connectors' tests speak with, each started once."""

from collections.abc import Iterator

import pytest

from isthmus.app.counterparts.tryton import TrytonServer, tryton
from tests.rooms.connectors.bottlecrm_room import BottleCrm, bottlecrm
from tests.rooms.connectors.bottlecrm_room import company as bottled_company
from tests.rooms.connectors.requesttracker_room import RequestTracker, company, requesttracker
from tests.rooms.connectors.sql_servers import SqlServer, mariadb, postgresql
from tests.rooms.connectors.stripe_room import StripeServer, localstripe


@pytest.fixture(scope="session")
def tryton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    """A real Tryton with its small company; the first run on a machine builds it, which takes a minute."""
    with tryton(tmp_path_factory.mktemp("tryton"), report=print) as server:
        yield server


@pytest.fixture(scope="session")
def stripe_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StripeServer]:
    """A localstripe that begins empty."""
    with localstripe(tmp_path_factory.mktemp("stripe")) as server:
        yield server


@pytest.fixture(scope="session")
def foreign_postgresql() -> Iterator[SqlServer]:
    """A PostgreSQL that somebody else runs, whose log can be read."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def foreign_mariadb() -> Iterator[SqlServer]:
    """A MariaDB that somebody else runs."""
    with mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def desk() -> Iterator[RequestTracker]:
    """A real Request Tracker with what the fixtures show."""
    with requesttracker() as server:
        company(server)
        yield server


@pytest.fixture(scope="session")
def bottle() -> Iterator[BottleCrm]:
    """A real BottleCRM with what the fixtures show."""
    with bottlecrm() as server:
        bottled_company(server)
        yield server
