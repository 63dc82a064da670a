"""All routes put together, and the gateway that serves them."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from valkey.asyncio import Valkey

from isthmus.analytics import Catalog, Ledgers
from isthmus.app import discovery
from isthmus.app.alerting.keeping import outbound_of
from isthmus.app.alerting.rules import RULES
from isthmus.app.engines import ValkeyAccess
from isthmus.app.http import (
    alerts,
    audit,
    authorizing,
    conflicts,
    connections,
    dead_letters,
    discrepancies,
    events,
    inbound,
    jobs,
    keys,
    limits,
    mappings,
    matches,
    money,
    oauth,
    people,
    policies,
    probes,
    reconciliations,
    roles,
    saml,
    schedules,
    scim,
    signing,
    syncs,
)
from isthmus.app.http import topics as topic_routes
from isthmus.app.http import upstreams as upstream_routes
from isthmus.app.http import webhooks as webhook_routes
from isthmus.app.http import workflows as workflow_routes
from isthmus.app.http.authz import OtherDoors
from isthmus.app.http.connection_pages import connecting_of
from isthmus.app.http.records import record_routes
from isthmus.app.http.system import System
from isthmus.app.http.threats import ROUTES as THREATS
from isthmus.app.program import Program
from isthmus.app.syncing import sync_engine
from isthmus.app.topics import topics
from isthmus.app.upstreams.assembling import upstream_services
from isthmus.app.upstreams.reach import Reach, reach_of
from isthmus.app.upstreams.serving import Upstreams
from isthmus.app.workings import workings_of
from isthmus.audit.queue import AuditQueue
from isthmus.auth.credentials import Credentials
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.people.sign_in import People
from isthmus.auth.tokens import Tokens
from isthmus.console.connections.port import Connecting
from isthmus.console.monitoring.routes import Rules
from isthmus.console.work.workings import Workings
from isthmus.gateway import Route, Services
from isthmus.gateway.asgi import Gateway, Parts
from isthmus.gateway.decide import Chain, Stage
from isthmus.gateway.epoch import Epoch
from isthmus.gateway.limits import Limits
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.monitoring.minutes import Minutes, domain_of
from isthmus.gateway.policy.gate import PolicyGate
from isthmus.gateway.policy.sample import Sample
from isthmus.gateway.policy.vocabulary import Vocabulary
from isthmus.gateway.router import parameters
from isthmus.gateway.threats.watch import Threats
from isthmus.store.database import Database
from isthmus.store.schema import Schema
from isthmus.stream.broker import Broker
from isthmus.stream.live import Live
from isthmus.stream.outbound import Outbound
from isthmus.stream.tail import Tail
from isthmus.stream.topics import Topics
from isthmus.sync.gathering import Gathering
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine

LOCAL = "http://127.0.0.1:8080"
Block = tuple[memoryview, int]
"""Shared memory for the counts of all workers, and which worker this is, from 0."""


@dataclass(frozen=True)
class Issuer:
    """The URL under which programs know this server, without a slash at its end; where none is given, `LOCAL`."""

    url: str


def all_routes(schema: Schema) -> tuple[Route, ...]:
    """Return every route: what a domain or page declares goes before what is made for all records, and before ours."""
    system = System(lambda: routes)
    own = (*signing.ROUTES, *people.ROUTES, *keys.ROUTES, *limits.ROUTES, *oauth.ROUTES, *audit.ROUTES, *THREATS)
    own = (*own, *alerts.ROUTES, *policies.ROUTES, *roles.ROUTES, *upstream_routes.ROUTES, *system.routes)
    own = (*workflow_routes.ROUTES, *own)
    own = (*saml.ROUTES, *scim.ROUTES, *jobs.ROUTES, *schedules.ROUTES, *own)
    own = (*own, *events.ROUTES, *topic_routes.ROUTES, *webhook_routes.ROUTES)
    own = (*own, *inbound.ROUTES, *dead_letters.ROUTES)
    own = (*own, *authorizing.ROUTES, *connections.ROUTES, *syncs.ROUTES, *conflicts.ROUTES, *discrepancies.ROUTES)
    own = (*own, *matches.ROUTES, *reconciliations.ROUTES, *probes.ROUTES, *money.ROUTES, *mappings.ROUTES)
    routes = tuple(_first_of_each((*discovery.routes(), *own, *record_routes(schema))))
    return routes


def services_of(program: Program, others: Mapping[type, object] | None = None) -> Services:
    """Return what handlers work with; `others` adds services by their type."""
    given = {
        Store: program.store,
        Engine: sync_engine(program),
        Catalog: discovery.catalog(),
        Ledgers: discovery.ledgers(),
        Issuer: Issuer(program.settings.issuer),
        Outbound: outbound_of(program.settings),
        Live: live_of(program.database, program.store.schema, program.valkey),
        Reach: reach_of(program.settings),
        **(others or {}),
    }
    return Services(
        schema=program.store.schema,
        database=program.database,
        vault=program.vault,
        clock=program.clock,
        others=given,
    )


def build(services: Services, routes: Sequence[Route] | None = None, *, block: Block | None = None) -> Gateway:
    """Return the ASGI application of one worker. `routes` None is all there are."""
    served = tuple(routes) if routes is not None else all_routes(services.schema)
    domains = sorted({each.domain for each in services.schema})
    provider = _provider(services, domains)
    tokens = Tokens(provider)
    epoch = _epoch(services)
    credentials = Credentials(services.database, domains=domains, vault=services.vault, tokens=tokens, epochs=epoch)
    gate = _policies(services, served, epoch)
    labels = [_label(route, domains) for route in served]
    traffic = Traffic(labels, block[0], worker=block[1]) if block else Traffic(labels)
    signing_in = People.over(services.database, services.vault, domains=domains)
    given = services.others.get(Outbound)
    outbound = given if isinstance(given, Outbound) else Outbound()
    trail, minutes = AuditQueue(services.database), Minutes(domains=domains)
    added: dict[type, object] = {
        Credentials: credentials,
        Traffic: traffic,
        People: signing_in,
        AuditQueue: trail,
        Minutes: minutes,
        Outbound: outbound,
        Rules: Rules(RULES),
        Workings: workings_of(services),
        Connecting: connecting_of(services),
        Gathering: Gathering(),
    }
    added |= {Provider: provider, Epoch: epoch, PolicyGate: gate}
    reach = services.others.get(Reach)
    reach = reach if isinstance(reach, Reach) else Reach()
    added |= upstream_services(provider, epoch, reach=reach, trail=trail)
    added[Topics] = topics()
    added |= {} if Live in services.others else {Live: live_of(services.database, services.schema, None)}
    threats = added[Threats] = Threats()
    with_own = replace(services, others={**services.others, **added})
    stages = (minutes, gate, *_counting(services), threats)
    chain = Chain(proof=credentials, stages=stages, widening=gate, door=threats.door)
    doors = OtherDoors(with_own.of(Upstreams), reach)
    ticks = time.perf_counter_ns
    parts = Parts(services=with_own, chain=chain, traffic=traffic, ticks=ticks, trail=trail, doors=doors)
    return Gateway(served, parts)


def live_of(database: Database, schema: Schema, valkey: ValkeyAccess | None) -> Live:
    """Return the live feeds of a program; without Valkey they read the log itself."""
    broker = Broker(Valkey(**valkey.arguments, socket_timeout=None)) if valkey is not None else None
    return Live(Tail(database=database, schema=schema, broker=broker))


def _epoch(services: Services) -> Epoch:
    """Return the numbers that are followed; a program that follows none trusts nothing for over a second."""
    given = services.others.get(Epoch)
    return given if isinstance(given, Epoch) else Epoch(services.database)


def _policies(services: Services, routes: Sequence[Route], epoch: Epoch) -> PolicyGate:
    return PolicyGate(
        services.database,
        vocabulary=Vocabulary(routes, services.schema.types),
        schema=services.schema,
        epoch=epoch,
        sample=Sample(services.database),
    )


def _counting(services: Services) -> tuple[Stage, ...]:
    """Return the stage of limits and quotas, which a program that serves alone for a moment does without."""
    given = services.others.get(Limits)
    return (given,) if isinstance(given, Limits) else ()


def _provider(services: Services, domains: Sequence[str]) -> Provider:
    given = services.others.get(Issuer)
    issuer = given.url if isinstance(given, Issuer) else LOCAL
    return Provider.over(services.database, services.vault, issuer=issuer, domains=domains)


def _label(route: Route, domains: Sequence[str]) -> RouteLabel:
    return RouteLabel(route.method, route.path, domain_of(route, domains=domains))


def _first_of_each(routes: Iterable[Route]) -> Iterator[Route]:
    seen: set[tuple[str, str]] = set()
    for route in routes:
        place = (route.method, _shape(route.path))
        if place not in seen:
            seen.add(place)
            yield route


def _shape(path: str) -> str:
    for name in parameters(path):
        path = path.replace(f"{{{name}}}", "{}", 1)
    return path
