"""Our own server with a thousand keys and as many tokens, limits and quotas, plain and with TLS."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from isthmus.app.bench.gateway.peers import PeerKey, free_port
from isthmus.app.discovery import domain_names
from isthmus.app.engines import Engines, start_engines
from isthmus.app.http.server import HttpServer
from isthmus.app.program import Program, migrate_as_owner, opened
from isthmus.app.settings import Settings
from isthmus.app.signing_out import provider_of
from isthmus.auth.keys import KEYS_MAX, KeyWish, create_key
from isthmus.auth.keytext import KEY_PREFIX, new_key_text
from isthmus.auth.oauth.clients import MACHINE, ClientWish, register_client
from isthmus.auth.oauth.machines import machine_token
from isthmus.auth.oauth.provider import Provider
from isthmus.gateway.limit_rules import LimitRule, write_limits
from isthmus.kernel.clock import milliseconds
from isthmus.kernel.ids import mint, text_of
from isthmus.store.database import Scope, Transaction
from isthmus.vault import entropy

ROUTE = "/api/v1/integrations/finance/budget/2026-11"
ALLOWED, FORBIDDEN, SLOW, UNKNOWN = 1_000, 13, 13, 14
_WORKSPACES = 2
_PERMISSION = "finance:read"
_PLENTY = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Callers:
    """Who calls: keys, tokens of as many programs' grants, and keys that nobody gave out."""

    keys: Sequence[PeerKey]
    unknown: Sequence[str]
    tokens: Sequence[str]

    def headers(self, *, tokens: bool = False) -> list[str]:
        """Return what they send, the few who are refused spread evenly among the others."""
        known = iter(self.tokens if tokens else [each.text for each in self.keys if not _odd(each)])
        odd = [*(each.text for each in self.keys if _odd(each)), *self.unknown]
        step = ALLOWED // len(odd)
        mixed: list[str] = []
        for number, each in enumerate(known):
            mixed.append(each)
            if number % step == step - 1 and odd:
                mixed.append(odd.pop())
        return [f"Bearer {each}" for each in [*mixed, *odd]]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Our servers: `plain` and `secure` serve the same; `engines` is where their data lies."""

    plain: HttpServer
    secure: HttpServer
    engines: Engines
    settings: Settings
    callers: Callers


def _odd(key: PeerKey) -> bool:
    return key.slow or key.role != "viewer"


@contextmanager
def served(home: Path) -> Generator[Site]:
    """Start everything on a directory of its own."""
    settings = Settings(data_dir=home / "data", port=free_port(), workers=1, log_level="error")
    with ExitStack() as stack:
        engines = stack.enter_context(
            start_engines(settings=settings.engines, entropy=entropy, now=lambda: datetime.now(UTC))
        )
        migrate_as_owner(engines.postgres)
        callers = asyncio.run(_prepared(settings, engines))
        certificate, key = make_certificate(home)
        with_tls = replace(settings, port=free_port(), tls_certificate=certificate, tls_key=key)
        plain, secure = HttpServer.start(settings), None
        stack.callback(plain.stop)
        secure = HttpServer.start(with_tls)
        stack.callback(secure.stop)
        yield Site(plain=plain, secure=secure, engines=engines, settings=settings, callers=callers)


def make_certificate(home: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine that lasts a day, and its key; return their paths."""
    # Any number below 2^255 is below the order of the curve, and so a key.
    key = ec.derive_private_key(int.from_bytes(entropy(32)) >> 1 | 1, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate, secret = home / "bench.crt", home / "bench.key"
    certificate.write_bytes(made.public_bytes(pem))
    secret.touch(mode=0o600)
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return certificate, secret


async def _prepared(settings: Settings, engines: Engines) -> Callers:
    async with opened(settings, engines, connections_max=4) as program:
        provider = provider_of(program)
        await provider.keyring.signing(now=datetime.now(UTC))
        keys: list[PeerKey] = []
        tokens: list[str] = []
        for number in range(_WORKSPACES):
            workspace = await _workspace(program, f"bench-{number}")
            scope = Scope(workspace=workspace, actor="bench", cause="bench", now=datetime.now(UTC))
            async with program.database.transaction(scope) as tx:
                own = await _keys(tx, last=number == _WORKSPACES - 1)
                rules = [
                    LimitRule(name="workspace", scope="workspace", count=_PLENTY, seconds=3600),
                    LimitRule(name="daily", scope="caller", quota_day=_PLENTY),
                    *(
                        LimitRule(name=f"slow-{n}", scope="caller", subject=each.id, count=1, seconds=3600, burst=1)
                        for n, each in enumerate(each for each in own if each.slow)
                    ),
                ]
                await write_limits(tx, tier="enterprise", rules=rules)
                tokens += await _tokens(provider, tx)
            keys += own
    now = milliseconds(datetime.now(UTC))
    unknown = [new_key_text(mint(unix_ms=now, entropy=entropy(10)), kind="live").text for _ in range(UNKNOWN // 2)]
    mistyped = [f"{each[:-1]}-" for each in unknown]
    return Callers(keys=keys, unknown=[*unknown, *mistyped], tokens=tokens)


async def _keys(tx: Transaction, *, last: bool) -> list[PeerKey]:
    """Make the share of one workspace; the last one has those that are refused too."""
    kinds = [("viewer", False)] * (ALLOWED // _WORKSPACES)
    if last:
        kinds += [("other", False)] * FORBIDDEN + [("viewer", True)] * SLOW
    assert len(kinds) <= KEYS_MAX
    made: list[PeerKey] = []
    for role, slow in kinds:
        permission = _PERMISSION if role == "viewer" else "sales:read"
        wish = KeyWish(name="bench", roles=(), permissions=(permission,))
        key, text = await create_key(tx, wish, domains=domain_names(), giver=None)
        made.append(PeerKey(text=text.text, id=text_of(KEY_PREFIX, key.id), role=role, slow=slow))
    return made


async def _tokens(provider: Provider, tx: Transaction) -> list[str]:
    """Make a token for each of as many programs as there are keys of a workspace."""
    wish = ClientWish(name="bench", grants=(MACHINE,), scopes=(_PERMISSION,))
    made: list[str] = []
    for _ in range(ALLOWED // _WORKSPACES):
        client, _secret = await register_client(tx, wish, domains=domain_names(), giver=None)
        answer = await machine_token(provider, tx, client, scopes=(_PERMISSION,), resources=(), bound_to=None)
        made.append(answer.access_token)
    return made


async def _workspace(program: Program, slug: str) -> int:
    async with program.database.plain() as connection:
        cursor = await connection.execute(
            "insert into workspace (slug, name, created_at) values (%s, %s, now()) returning id", (slug, slug)
        )
        row = await cursor.fetchone()
    return int(row[0]) if row else 0
