"""The server of quotas, over gRPC. Proxies stay connected; what they tell and are told flows on one stream each."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol, cast

import grpc
import grpc.aio
import structlog

from isthmus.app.limiting import opened_authority
from isthmus.app.program import Program
from isthmus.app.rlqs.assigning import Assigner
from isthmus.app.rlqs.wire import METHOD, SERVICE, Assignment, Reports, read_reports, write_response
from isthmus.app.settings import BadSetting, Settings

_QUEUE_MAX = 1_000
_GRACE_S = 0.5
_log = structlog.get_logger("isthmus.rlqs")


class _Server(Protocol):
    """What is used of gRPC's server, whose own types say nothing."""

    def add_generic_rpc_handlers(self, handlers: tuple[object, ...]) -> None: ...
    def add_insecure_port(self, address: str) -> int: ...
    def add_secure_port(self, address: str, credentials: object) -> int: ...
    async def start(self) -> None: ...
    async def stop(self, grace: float | None) -> None: ...
    async def wait_for_termination(self) -> bool: ...


async def keep_assigning(program: Program) -> None:
    """Serve quotas at the address of the settings until cancelled; raises BadSetting."""
    address = program.settings.rlqs_listen
    if address is None:
        raise BadSetting("Nothing says where quotas are served.", fix="Set rlqs_listen, such as 127.0.0.1:8090.")
    async with opened_authority(program.valkey, program.database) as authority:
        assigner = Assigner(program.database, authority, clock=program.clock, ticks=time.monotonic)
        server = _listening(assigner, program.settings, address)
        await server.start()
        try:
            await assigner.run()
        finally:
            await server.stop(_GRACE_S)


def _listening(assigner: Assigner, settings: Settings, address: str) -> _Server:
    server = cast("_Server", grpc.aio.server())
    server.add_generic_rpc_handlers((_handlers(assigner),))
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is not None and key is not None and not address.startswith("unix:"):
        port = server.add_secure_port(address, _credentials(certificate, key))
    elif address.startswith("unix:") or _is_loopback(address):
        port = server.add_insecure_port(address)
    else:
        raise BadSetting(
            f"{address} can be reached from other machines, and no certificate is set.",
            fix="Set tls_certificate and tls_key, or serve on 127.0.0.1 or unix:/path.",
        )
    if port == 0:
        raise BadSetting(f"{address} cannot be listened on.", fix="Choose another address for rlqs_listen.")
    return server


def _handlers(assigner: Assigner) -> object:
    async def stream(requests: AsyncIterator[Reports], _: object) -> AsyncIterator[Sequence[Assignment]]:
        telling: asyncio.Queue[Sequence[Assignment]] = asyncio.Queue(_QUEUE_MAX)
        proxy = assigner.joined(telling.put_nowait)
        hearing = asyncio.create_task(_hear(assigner, proxy, requests))
        try:
            while not hearing.done():
                next_one = asyncio.ensure_future(telling.get())
                await asyncio.wait((next_one, hearing), return_when=asyncio.FIRST_COMPLETED)
                if next_one.done():
                    yield next_one.result()
                else:
                    next_one.cancel()
            hearing.result()
        finally:
            hearing.cancel()
            assigner.left(proxy)

    handler: object = grpc.stream_stream_rpc_method_handler(
        stream, request_deserializer=read_reports, response_serializer=write_response
    )
    return cast("object", grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}))


async def _hear(assigner: Assigner, proxy: int, requests: AsyncIterator[Reports]) -> None:
    async for reports in requests:
        await assigner.told(proxy, reports.usages)


def _credentials(certificate: Path, key: Path) -> object:
    pair = (key.read_bytes(), certificate.read_bytes())
    return cast("object", grpc.ssl_server_credentials([pair]))


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
