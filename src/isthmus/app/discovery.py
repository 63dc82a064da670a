"""What is there because its folder is there: domains and connectors.

The analytics, which bring numpy and Arrow, are imported by those who ask for metrics: commands begin without them.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar, cast

import isthmus.connectors
import isthmus.console
import isthmus.domains
from isthmus.gateway import Route
from isthmus.kernel.marks import Domain
from isthmus.store.schema import Schema
from isthmus.sync.connector import Connector

if TYPE_CHECKING:
    from isthmus.analytics import Catalog, Ledgers

T = TypeVar("T")


@cache
def domains() -> tuple[Domain, ...]:
    """Return the manifests of all domains, in order of their names; raises ValueError for a folder without one."""
    found: list[Domain] = []
    for module in pkgutil.iter_modules(isthmus.domains.__path__):
        if module.ispkg:
            manifest: object = getattr(import_module(f"isthmus.domains.{module.name}"), "DOMAIN", None)
            if not isinstance(manifest, Domain):
                message = f"isthmus/domains/{module.name}/__init__.py must define DOMAIN"
                raise TypeError(message)
            found.append(manifest)
    return tuple(found)


@cache
def domain_names() -> tuple[str, ...]:
    """Return the names of all domains, in order."""
    return tuple(each.name for each in domains())


@cache
def connectors() -> dict[str, Connector]:
    """Return the connectors by name; raises TypeError for a folder without one."""
    found: dict[str, Connector] = {}
    for module in pkgutil.iter_modules(isthmus.connectors.__path__):
        if module.ispkg:
            manifest: object = getattr(import_module(f"isthmus.connectors.{module.name}"), "CONNECTOR", None)
            if not isinstance(manifest, Connector):
                message = f"isthmus/connectors/{module.name}/__init__.py must define CONNECTOR"
                raise TypeError(message)
            found[manifest.name] = manifest
    return found


@cache
def schema() -> Schema:
    """Return all record types of all domains."""
    return Schema.of(each for domain in domains() for each in domain.records)


@cache
def routes() -> tuple[Route, ...]:
    """Return `ROUTES` of every `routes.py` in domains and console; raises TypeError where it is no tuple of routes."""
    found: list[Route] = []
    for package in (isthmus.console, isthmus.domains):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith(".routes"):
                declared: object = getattr(import_module(module.name), "ROUTES", None)
                if not isinstance(declared, tuple):
                    message = f"{module.name} must define ROUTES: tuple[Route, ...]"
                    raise TypeError(message)
                found += _checked(module.name, cast("tuple[object, ...]", declared))
    return tuple(found)


def _checked(name: str, declared: tuple[object, ...]) -> Iterator[Route]:
    for each in declared:
        if not isinstance(each, Route):
            message = f"{name}: ROUTES holds {each!r}, which is no Route"
            raise TypeError(message)
        yield each


def _declared(name: str, kind: type[T]) -> Iterator[T]:
    """Yield what stands under a name in `metrics.py` of all domains; raises TypeError for what is of another kind."""
    for domain in domains():
        path = f"isthmus.domains.{domain.name}.metrics"
        if find_spec(path) is None:
            continue
        for each in cast("tuple[object, ...]", getattr(import_module(path), name, ())):
            if not isinstance(each, kind):
                message = f"{path}: {name} holds {each!r}, which is no {kind.__name__}"
                raise TypeError(message)
            yield each


@cache
def catalog() -> Catalog:
    """Return what all domains publish and ask; raises UnknownRelation or UnknownColumn when these do not fit."""
    from isthmus.analytics import Catalog, Credits, Metric

    metrics = (*_declared("METRICS", Metric), *(each.metric for each in _declared("CREDITS", Credits)))
    published = tuple(each.publishes for each in _declared("CREDITS", Credits) if each.publishes)
    return Catalog(schema(), metrics, published)


def ledgers() -> Ledgers:
    """Return where credit is kept, for one program; what a domain publishes others ask for by its name."""
    from isthmus.analytics import Credits, Ledgers

    return Ledgers({each.publishes.name: each for each in _declared("CREDITS", Credits) if each.publishes})
