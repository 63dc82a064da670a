"""What the pages of connections need of the program: who may read what, what reaches systems, and which jobs there are.

The pages show and ask; what they ask for is done by the same code that does it over HTTP and at the terminal.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from isthmus.gateway import Call
from isthmus.kernel.marks import Json
from isthmus.store.database import Transaction
from isthmus.stream.jobs.job import Wish
from isthmus.sync.connections import Connection
from isthmus.sync.connector import Connector
from isthmus.sync.flow_versions import FlowPlan, FlowVersion
from isthmus.sync.flows import Flow

Task: TypeAlias = Literal["run", "backfill", "resync", "retry", "remap", "reconcile", "probe", "repair"]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a system said when it was asked: who we are there, or what is wrong and how to mend it."""

    answers_as: str = ""
    trouble: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True)
class Connecting:
    """What the program does for the pages.

    `check_new` and `check_changed` raise SettingsRefused and NoAnswer; the latter is given the connector, the
    connection, what is to be changed, and all settings as they would be. `part` returns why a system keeps something
    all the same. `fit` raises FlowUnfit and UnknownConnector, `try_mapping` NotFound. `callback` is the path
    to which vendors send a browser back.
    """

    may_read: Callable[[Call, str], bool]
    check_new: Callable[[Connector, str, Mapping[str, str]], Awaitable[None]]
    check_changed: Callable[[Connector, Connection, Mapping[str, str], Mapping[str, str]], Awaitable[None]]
    ask: Callable[[Call, Connection], Awaitable[Said]]
    part: Callable[[Call, Connection], Awaitable[str]]
    wish: Callable[[Task, Connection, Mapping[str, Json]], Wish]
    try_mapping: Callable[[Transaction, FlowVersion], Awaitable[FlowPlan]]
    fit: Callable[[Transaction, str, Flow], Awaitable[Flow]]
    callback: str
