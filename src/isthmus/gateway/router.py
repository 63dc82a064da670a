"""From method and path to route: a dictionary for paths without parameters, a small tree of segments for the others.

A custom verb closes a segment: `{id}:run` is tried before `{id}`. Fixed segments go before parameters.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from isthmus.gateway.errors import MethodRefused, RouteMissing
from isthmus.gateway.routes import Route
from isthmus.kernel.errors import Malformed

PATH_BYTES_MAX = 2_000
FOUND_MAX = 4_096
_PARAMETER = re.compile(r"\{([a-z_]+)\}(:[a-z_-]+)?")
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
_Methods = dict[str, Route]


@dataclass
class _Node:
    """One place in the tree; `verbs` are parameters that a custom verb closes."""

    methods: _Methods = field(default_factory=dict[str, Route])
    fixed: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    verbs: "dict[str, _Node]" = field(default_factory=dict[str, "_Node"])
    parameter: "_Node | None" = None
    tail: bool = False


@dataclass(frozen=True)
class Match:
    """The route of a call with the parameters of its path."""

    route: Route
    path: Mapping[str, str]


class Router:
    """Finds routes. Compiled once; raises ValueError for two routes in one place."""

    def __init__(self, routes: Iterable[Route]) -> None:
        """Compile the routes."""
        self.routes = tuple(routes)
        self._static: dict[str, _Methods] = {}
        self._root = _Node()
        self._found: dict[tuple[str, str], Match] = {}
        for route in self.routes:
            place = self._static.setdefault(route.path, {}) if "{" not in route.path else self._place(route)
            if route.method in place:
                message = f"two routes answer {route.method} {route.path}"
                raise ValueError(message)
            place[route.method] = route

    def find(self, method: str, raw_path: str) -> Match:
        """Return the route; raises RouteMissing, MethodRefused, and Malformed for a path that cannot be read.

        HEAD is answered by the route of GET. `raw_path` is the path as sent, before percent escapes are read.
        """
        known = self._found.get((method, raw_path))
        if known is not None:
            return known
        methods, values = self._methods(raw_path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise MethodRefused(allowed(methods))
        match = Match(route, dict(zip(parameters(route.path), values, strict=True)))
        if len(self._found) >= FOUND_MAX:
            self._found.clear()
        self._found[method, raw_path] = match
        return match

    def allowed(self, raw_path: str) -> tuple[str, ...]:
        """Return the methods that a path answers; raises RouteMissing."""
        return allowed(self._methods(raw_path)[0])

    def crossed(self, raw_path: str) -> bool:
        """Tell whether pages of other sites may call a path; raises RouteMissing."""
        return any(route.sender is not None for route in self._methods(raw_path)[0].values())

    def _methods(self, raw_path: str) -> tuple[_Methods, tuple[str, ...]]:
        found = self._static.get(raw_path)
        if found is not None:
            return found, ()
        if len(raw_path) > PATH_BYTES_MAX:
            raise Malformed(f"The path is over {PATH_BYTES_MAX} bytes.", fix="Send a shorter path.")
        segments = [_segment(each) for each in raw_path.split("/")[1:]]
        for node, values in _walk(self._root, segments):
            if node.methods:
                return node.methods, values
        static = self._static.get("/" + "/".join(segments))
        if static is None:
            raise RouteMissing("Nothing is served at this path.", fix="See /docs for what there is.")
        return static, ()

    def _place(self, route: Route) -> _Methods:
        node = self._root
        for segment in route.path.split("/")[1:]:
            match = _PARAMETER.fullmatch(segment)
            if match is None:
                node = node.fixed.setdefault(segment, _Node())
            elif match[2]:
                node = node.verbs.setdefault(match[2], _Node())
            else:
                node.parameter = node.parameter or _Node()
                node = node.parameter
        node.tail = node.tail or route.tail
        return node.methods


def parameters(path: str) -> list[str]:
    """Return the names of a template's parameters."""
    return [match[1] for match in _PARAMETER.finditer(path)]


def allowed(methods: Iterable[str]) -> tuple[str, ...]:
    """Return methods as Allow names them."""
    own = set(methods) | {"OPTIONS"}
    return tuple(sorted(own | {"HEAD"} if "GET" in own else own))


def _walk(node: _Node, segments: list[str], values: tuple[str, ...] = ()) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    if not segments:
        yield node, values
        return
    segment, rest = segments[0], segments[1:]
    if fixed := node.fixed.get(segment):
        yield from _walk(fixed, rest, values)
    head, colon, verb = segment.rpartition(":")
    if head and (closed := node.verbs.get(colon + verb)):
        yield from _walk(closed, rest, (*values, head))
    if segment and node.parameter:
        yield from _walk(node.parameter, rest, (*values, segment))
    if node.tail:
        yield node, values


def _segment(text: str) -> str:
    try:
        if _BROKEN.search(text):
            raise Malformed("The path has a broken percent escape.", fix="Escape the path as URLs demand.")
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed("The path is not UTF-8.", fix="Escape the path as URLs demand.") from error
    if "\0" in plain:
        raise Malformed("The path has the character NUL.", fix="Leave it out.")
    return plain
