"""Third-party servers that the connectors' tests speak with, each started once."""

from collections.abc import Iterator

import pytest

from isthmus.app.counterparts.tryton import TrytonServer, tryton
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
