"""Ten seconds of a caller, as they are kept for trying other modes over them."""

from datetime import datetime

from msgspec import Struct


class Failed(Struct, frozen=True, kw_only=True):
    """How often a route failed with a status, and of how many different things."""

    route: str
    status: int
    count: int
    distinct: int


class Window(Struct, frozen=True, kw_only=True):
    """What a caller did in ten seconds, from the class of which network, by which program."""

    at: datetime
    subject: str
    network: str
    program: str
    routes: dict[str, int]
    things: int
    failures: list[Failed] = []
