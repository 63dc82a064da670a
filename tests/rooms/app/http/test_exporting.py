"""A server tells a collector what it counted, with the headers that the collector asks for."""

import asyncio
from contextlib import suppress
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from isthmus.app.http.exporting import headers_of, keep_exporting
from isthmus.app.settings import Settings
from isthmus.gateway import Services
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.kernel.clock import FrozenClock
from isthmus.sync.ingest import Store
from tests.conftest import NOW


async def test_a_collector_is_told_and_one_that_is_away_is_told_later(store: Store, tmp_path: Path) -> None:
    bodies: list[tuple[str, bytes]] = []
    came = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(each[15:]) for each in head.split("\r\n") if each.lower().startswith("content-length:"))
        bodies.append((head, await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        came.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    traffic = Traffic([RouteLabel("GET", "/a")])
    traffic.count(0, status=200, micros=1_500)
    services = Services(
        schema=store.schema,
        database=store.database,
        vault=store.vault,
        clock=FrozenClock(NOW),
        others={Traffic: traffic},
    )
    settings = Settings(data_dir=tmp_path, otlp_url=f"http://127.0.0.1:{port}/", otlp_headers="x-token=abc, x-b=1=2")
    sending = asyncio.create_task(keep_exporting(services, settings, every_s=0.05))
    await asyncio.sleep(0.2)
    again = await asyncio.start_server(serve, "127.0.0.1", port)
    async with again:
        async with asyncio.timeout(10):
            await came.wait()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
    head, body = bodies[0]
    assert head.startswith("POST /v1/metrics HTTP/1.1")
    assert "x-token: abc" in head
    request = ExportMetricsServiceRequest.FromString(body)
    names = [each.name for each in request.resource_metrics[0].scope_metrics[0].metrics]
    assert "isthmus.request.duration" in names


def test_headers_are_read_as_they_were_written() -> None:
    found = headers_of(Settings(data_dir=Path("/nowhere"), otlp_headers="x-token=abc, x-b=1=2,"))
    assert found == {"content-type": "application/x-protobuf", "x-token": "abc", "x-b": "1=2"}


async def test_without_an_address_nothing_is_told(store: Store) -> None:
    services = Services(
        schema=store.schema, database=store.database, vault=store.vault, clock=FrozenClock(NOW), others={}
    )
    await keep_exporting(services, Settings(data_dir=Path("/nowhere")))


async def test_nothing_is_told_to_where_machines_are_told_secrets_or_without_tls_to_the_internet(
    store: Store, tmp_path: Path
) -> None:
    services = Services(
        schema=store.schema, database=store.database, vault=store.vault, clock=FrozenClock(NOW), others={}
    )
    for url in ("http://169.254.169.254/", "http://93.184.216.34:4318", "ftp://collector.example"):
        async with asyncio.timeout(5):
            await keep_exporting(services, Settings(data_dir=tmp_path, otlp_url=url), every_s=0.0)
