"""The examination: what needs no engine first, then the engines, then what stands in the database."""

from collections.abc import Callable, Iterator
from datetime import datetime

from isthmus.app.doctor import engines as engine_checks
from isthmus.app.doctor import ground, rows
from isthmus.app.doctor.finding import Finding, fail, guarded, ok, refused
from isthmus.app.doctor.keys import key_encryption
from isthmus.app.doctor.tls import tls
from isthmus.app.engines import Engines, RunningEngines, running_engines
from isthmus.app.program import start
from isthmus.app.running import found as running_program
from isthmus.app.settings import Settings
from isthmus.app.up import is_ready
from isthmus.kernel.errors import IsthmusError


def examine(settings: Settings, *, now: Callable[[], datetime], say: Callable[[str], None]) -> list[Finding]:
    """Return what was found, in the order in which things depend on each other."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("data directory", lambda: ground.directory(settings)),
        ("disk", lambda: ground.disk(settings)),
        ("at rest", lambda: ground.at_rest(settings)),
        ("key-encryption key", lambda: key_encryption(settings)),
        ("address and TLS", lambda: tls(settings, now=now())),
        ("program", lambda: _program(settings)),
    )
    found = [each for name, look in checks for each in guarded(name, look)]
    return found + _with_engines(settings, now=now, say=say)


def _program(settings: Settings) -> Iterator[Finding]:
    known = running_program(settings.data_dir)
    if known is None:
        yield ok("program", "does not run; start it: isthmus up")
    elif is_ready(known.url):
        yield ok("program", f"answers at {known.url} (process {known.pid}, workspace {known.workspace})")
    else:
        fix = f"Read {settings.data_dir / 'logs'}; then isthmus down and isthmus up."
        yield fail("program", f"runs (process {known.pid}) and does not answer at {known.url}", fix=fix)


def _with_engines(settings: Settings, *, now: Callable[[], datetime], say: Callable[[str], None]) -> list[Finding]:
    """Look at engines that run, or start them for the time of looking; where none were made, at their programs."""
    try:
        running = running_engines(settings=settings.engines)
        if running is not None:
            return _inside(settings, running, now=now)
        if settings.database_url is None and not (settings.data_dir / "engines").exists():
            return list(guarded("engines", engine_checks.installed))
        say("starting the embedded engines")
        engines = start(settings)
    except IsthmusError as error:
        return [refused("engines", error)]
    try:
        return _inside(settings, engines, now=now)
    finally:
        engines.stop()


def _inside(settings: Settings, engines: Engines | RunningEngines, *, now: Callable[[], datetime]) -> list[Finding]:
    runs = running_program(settings.data_dir) is not None
    found = list(guarded("Valkey", lambda: engine_checks.valkey(settings, engines.valkey)))
    postgres, connection = engine_checks.postgres(engines.postgres)
    found.insert(0, postgres)
    if connection is None:
        return found
    with connection:
        schema = engine_checks.migrations(connection, runs=runs)
        found.append(schema)
        found.append(rows.clock(connection, now=now))
        if schema.state == "ok":
            for name, look in (
                ("workspaces", rows.workspaces),
                ("events", rows.events),
                ("connections", rows.connections),
                ("jobs", rows.jobs),
            ):
                found += guarded(name, lambda look=look: look(connection, now=now(), runs=runs))
    return found
