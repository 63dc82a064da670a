"""All routes put together, and the gateway that serves them."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from isthmus.analytics import Catalog, Ledgers
from isthmus.app import discovery
from isthmus.app.http import audit, keys, signing
from isthmus.app.http.records import record_routes
from isthmus.app.http.system import System
from isthmus.app.program import Program
from isthmus.app.syncing import sync_engine
from isthmus.audit.queue import AuditQueue
from isthmus.auth.credentials import Credentials
from isthmus.auth.people.sign_in import People
from isthmus.gateway import Route, Services
from isthmus.gateway.asgi import Gateway, Parts
from isthmus.gateway.decide import Chain
from isthmus.gateway.metrics import RouteLabel, Traffic
from isthmus.gateway.monitoring.minutes import Minutes, domain_of
from isthmus.gateway.router import parameters
from isthmus.store.schema import Schema
from isthmus.sync.ingest import Store
from isthmus.sync.runs import Engine

Block = tuple[memoryview, int]
"""Shared memory for the counts of all workers, and which worker this is, from 0."""


def all_routes(schema: Schema) -> tuple[Route, ...]:
    """Return every route: what a domain or page declares goes before what is made for all records, and before ours."""
    system = System(lambda: routes)
    own = (*signing.ROUTES, *keys.ROUTES, *audit.ROUTES, *system.routes)
    routes = tuple(_first_of_each((*discovery.routes(), *own, *record_routes(schema))))
    return routes


def services_of(program: Program, others: Mapping[type, object] | None = None) -> Services:
    """Return what handlers work with; `others` adds services by their type."""
    given = {
        Store: program.store,
        Engine: sync_engine(program),
        Catalog: discovery.catalog(),
        Ledgers: discovery.ledgers(),
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
    credentials = Credentials(services.database, domains=domains, vault=services.vault)
    labels = [_label(route, domains) for route in served]
    traffic = Traffic(labels, block[0], worker=block[1]) if block else Traffic(labels)
    people = People.over(services.database, services.vault, domains=domains)
    trail, minutes = AuditQueue(services.database), Minutes(domains=domains)
    added = {Credentials: credentials, Traffic: traffic, People: people, AuditQueue: trail, Minutes: minutes}
    with_own = replace(services, others={**services.others, **added})
    chain = Chain(proof=credentials, stages=(minutes,))
    parts = Parts(services=with_own, chain=chain, traffic=traffic, ticks=time.perf_counter_ns, trail=trail)
    return Gateway(served, parts)


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
