"""Paths find their routes."""

import pytest

from isthmus.gateway import Call, Route
from isthmus.gateway.errors import MethodRefused, RouteMissing
from isthmus.gateway.router import Router
from isthmus.gateway.routes import Method
from isthmus.kernel.errors import Malformed


async def nothing(_: Call) -> None:
    """Answer nothing."""


def route(method: Method, path: str) -> Route:
    return Route(method=method, path=path, handler=nothing, summary="Nothing", permission=None)


ROUTER = Router(
    [
        route("GET", "/things"),
        route("POST", "/things"),
        route("POST", "/things:batch"),
        route("GET", "/things/{thing_id}"),
        route("PATCH", "/things/{thing_id}"),
        route("POST", "/things/{thing_id}:run"),
        route("GET", "/things/latest"),
        route("GET", "/things/{thing_id}/history"),
        route("GET", "/things/{thing_id}/parts/{part_id}"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "template", "values"),
    [
        ("GET", "/things", "/things", {}),
        ("HEAD", "/things", "/things", {}),
        ("POST", "/things:batch", "/things:batch", {}),
        ("POST", "/things%3Abatch", "/things:batch", {}),
        ("GET", "/things/a1", "/things/{thing_id}", {"thing_id": "a1"}),
        ("GET", "/things/latest", "/things/latest", {}),
        ("POST", "/things/a1:run", "/things/{thing_id}:run", {"thing_id": "a1"}),
        ("GET", "/things/a1/history", "/things/{thing_id}/history", {"thing_id": "a1"}),
        ("GET", "/things/latest/history", "/things/{thing_id}/history", {"thing_id": "latest"}),
        (
            "GET",
            "/things/a/parts/b%20c%2Fd",
            "/things/{thing_id}/parts/{part_id}",
            {"thing_id": "a", "part_id": "b c/d"},
        ),
    ],
)
def test_a_path_finds_its_route(method: str, path: str, template: str, values: dict[str, str]) -> None:
    match = ROUTER.find(method, path)
    assert (match.route.path, match.path) == (template, values)


@pytest.mark.parametrize(
    "path", ["/", "/thing", "/things/", "/things//history", "/things/a/parts", "//things", "/Things"]
)
def test_a_path_of_no_route_is_missing(path: str) -> None:
    with pytest.raises(RouteMissing):
        ROUTER.find("GET", path)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/things", ("GET", "HEAD", "OPTIONS", "POST")),
        ("GET", "/things/a1:run", ("OPTIONS", "POST")),
        ("PUT", "/things/a1", ("GET", "HEAD", "OPTIONS", "PATCH")),
    ],
)
def test_a_known_path_names_the_methods_it_answers(method: str, path: str, allowed: tuple[str, ...]) -> None:
    with pytest.raises(MethodRefused) as refused:
        ROUTER.find(method, path)
    assert refused.value.allowed == allowed


@pytest.mark.parametrize("path", ["/things/%", "/things/%f", "/things/%ff", "/things/%00", "/" + "a" * 3000])
def test_a_path_that_cannot_be_read_is_malformed(path: str) -> None:
    with pytest.raises(Malformed):
        ROUTER.find("GET", path)


def test_two_routes_in_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two routes answer GET /things/\{b\}"):
        Router([route("GET", "/things/{a}"), route("GET", "/things/{b}")])
