"""Telling an OpenTelemetry collector what was counted, each minute."""

import asyncio
import os
from datetime import datetime
from importlib.metadata import version

import aiohttp
import structlog

from isthmus.app.settings import Settings, networks_of
from isthmus.gateway import Services
from isthmus.gateway.metrics import Traffic
from isthmus.gateway.monitoring.otlp import MEDIA, PATH, export
from isthmus.stream.outbound import Outbound, OutboundRefused

EVERY_S = 60.0
SECONDS_MAX = 10.0
_OK_MAX = 299
_log = structlog.get_logger("isthmus.exporting")


async def keep_exporting(services: Services, settings: Settings, *, every_s: float = EVERY_S) -> None:
    """Send everything that was counted to `otlp_url`, again and again; what is not taken is told with the next."""
    if settings.otlp_url is None:
        return
    since = services.clock.now()
    url = settings.otlp_url.rstrip("/")
    url = url if url.endswith(PATH) else url + PATH
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    outbound = Outbound(networks_of(settings.outbound_allow), house=True)
    try:
        outbound.check(url, plain_names=True)
    except OutboundRefused as error:
        _log.warning("metrics not sent", error=type(error).__name__, why=f"{error.detail} {error.fix}")
        return
    connector = outbound.connector(own_only=url.startswith("http:"), per_host=1)
    headers = headers_of(settings)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers, trust_env=False) as session:
        while True:
            await asyncio.sleep(every_s)
            try:
                async with session.post(url, data=_body(services, since), allow_redirects=False) as answer:
                    if answer.status > _OK_MAX:
                        _log.warning("metrics not taken", status=answer.status)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.warning("metrics not sent", error=type(error).__name__)


def headers_of(settings: Settings) -> dict[str, str]:
    """Return the headers that a collector asks for: `otlp_headers` is `name=value,name=value`."""
    given = (each.partition("=") for each in (settings.otlp_headers or "").split(",") if "=" in each)
    return {"content-type": MEDIA, **{name.strip(): value.strip() for name, _, value in given}}


def _body(services: Services, since: datetime) -> bytes:
    now = services.clock.now()
    return export(
        services.of(Traffic).snapshot(),
        resource={"service.instance.id": f"{os.uname().nodename}-{os.getpid()}"},
        version=version("isthmus"),
        since_ns=int(since.timestamp() * 1e9),
        now_ns=int(now.timestamp() * 1e9),
    )
