"""One site with a full and an empty workspace, one Chromium, a window for each test."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

from isthmus.app.program import migrate_as_owner
from tests.counterparts import require_debian
from tests.rooms.app.engines import stage
from tests.rooms.console.stage import Site, Who
from tests.rooms.sync.consent_room import books

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
Window = Callable[..., BrowserContext]
WAIT_MS = 15_000
"""How long a test waits for what it expects: a machine that does much else may be slow."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The program, served on engines of its own: its relay leads whatever else uses them."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    with stage.directory() as data_dir, stage.start(data_dir) as engines:
        migrate_as_owner(engines.postgres)
        site = Site(engines, tmp_path_factory.mktemp("site"), port, more={"books": books()})
        site.start()
        yield site
        site.stop()


@pytest.fixture(scope="session")
def full(site: Site) -> int:
    """A workspace that has read the demo company's five systems."""
    workspace = site.workspace("Northwind Bridges")
    site.fill(workspace)
    return workspace


@pytest.fixture(scope="session")
def empty(site: Site) -> int:
    """A workspace in which nothing has happened."""
    return site.workspace("Nothing Yet")


@pytest.fixture(scope="session")
def owner(site: Site, full: int) -> Who:
    """Somebody who may do everything in the full workspace."""
    return site.sign_in(full, "owner")


@pytest.fixture(scope="session")
def newcomer(site: Site, empty: int) -> Who:
    """Somebody who may do everything in the empty workspace."""
    return site.sign_in(empty, "owner")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, for one file of tests: while it is open, nothing asynchronous can run in this thread."""
    program: Path = require_debian("chromium", binary="chromium")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def window(chromium: Browser, site: Site) -> Iterator[Window]:
    """Opens windows, signed in as somebody or not."""
    opened: list[BrowserContext] = []

    def open_window(
        who: Who | None = None,
        *,
        scheme: Literal["light", "dark"] = "light",
        width: int = 1280,
        script: bool = True,
    ) -> BrowserContext:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script
        )
        context.set_default_timeout(WAIT_MS)
        if who is not None:
            context.add_cookies([{"name": "isthmus_session", "value": who.token, "url": site.url}])
        opened.append(context)
        return context

    yield open_window
    for each in opened:
        each.close()
