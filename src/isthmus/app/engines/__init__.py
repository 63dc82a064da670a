"""The embedded engines: PostgreSQL and Valkey as children of this program, or external ones by URL.

    start_engines(*, settings: EngineSettings, entropy: Callable[[int], bytes], now: Callable[[], datetime],
                  on_change: Callable[[EngineHealth], None] = …) -> Engines      blocks until ready, then watches
    running_engines(*, settings: EngineSettings) -> RunningEngines | None        for commands beside a running program

    Engines.postgres: PostgresAccess       .owner and .app: PostgresLogin, .version (180006), .external
    Engines.valkey: ValkeyAccess | None    None is PostgreSQL-only mode
    Engines.supervised: bool               False: another program (Engines.holder) has them; stop() leaves them running
    Engines.health() -> tuple[EngineHealth, ...]
    Engines.stop()                         also on leaving `with start_engines(…) as engines:`

    psycopg.connect(login.conninfo, password=login.password)      with login = engines.postgres.app or .owner
    valkey.asyncio.Valkey(**engines.valkey.arguments)

All calls block; from asyncio use `asyncio.to_thread`. Passwords are in `<data_dir>/secrets`, never in a text form.
"""

from isthmus.app.engines.access import (
    EngineHealth,
    EngineSettings,
    Holder,
    PostgresAccess,
    PostgresLogin,
    RunningEngines,
    ValkeyAccess,
    ValkeyArguments,
)
from isthmus.app.engines.errors import (
    EngineDirectoryUnusable,
    EngineFailed,
    EngineMissing,
    EnginesHeld,
    EngineUrlRefused,
    ExternalEngineUnfit,
)
from isthmus.app.engines.supervisor import Engines, running_engines, start_engines

__all__ = [
    "EngineDirectoryUnusable",
    "EngineFailed",
    "EngineHealth",
    "EngineMissing",
    "EngineSettings",
    "EngineUrlRefused",
    "Engines",
    "EnginesHeld",
    "ExternalEngineUnfit",
    "Holder",
    "PostgresAccess",
    "PostgresLogin",
    "RunningEngines",
    "ValkeyAccess",
    "ValkeyArguments",
    "running_engines",
    "start_engines",
]
