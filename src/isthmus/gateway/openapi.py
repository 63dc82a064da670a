"""The description of the interface, OpenAPI 3.1.0, made from the routes, with what the gateway does to every call."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_type_hints

import msgspec
from msgspec import Struct
from msgspec.json import schema_components

from isthmus.gateway.decide import UNSAFE
from isthmus.gateway.problems import MEDIA as PROBLEM_MEDIA
from isthmus.gateway.problems import Problem
from isthmus.gateway.router import parameters
from isthmus.gateway.routes import ANY_CALLER, Refusal, Route
from isthmus.gateway.versions import PATTERN, VERSIONS
from isthmus.kernel.errors import IsthmusError, Unavailable
from isthmus.kernel.marks import Json

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_BODY_MEDIA = {"json": _JSON, "form": "application/x-www-form-urlencoded", "raw": "application/octet-stream"}
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_EVENTS = "text/event-stream"
_TITLES = {
    400: "The request cannot be read",
    401: "A valid credential is required",
    403: "Not permitted",
    404: "Not found, or not to be seen by the caller",
    408: "The body did not arrive in time",
    409: "In conflict with the present state",
    412: "The record has changed meanwhile",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "The content is not valid; `errors` names every fault",
    428: "The change must name the version it was made from",
    429: "Too many requests",
    500: "Something went wrong here",
    503: "Not available at the moment",
}
_RATE_HEADERS = {
    "RateLimit-Policy": "The limits that hold: `q` calls in a window of `w` seconds, `burst` of them at once.",
    "RateLimit": "What is left of the nearest limit: `r` calls; in `t` seconds it is whole again.",
}
_RETRIED = frozenset({429, 503})
_RETRY_HEADERS = {"Retry-After": "After how many seconds it is worth calling again."}
_Map = dict[str, Json]
_EVENT: _Map = {
    "description": "One event of the stream; `data` is JSON.",
    "type": "object",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}


def openapi(routes: Sequence[Route], *, title: str, version: str) -> _Map:
    """Return the document of the listed routes; raises ValueError for a name of an operation that is given twice."""
    listed = [route for route in routes if route.listed]
    schemas, components = _schemas(listed)
    names = operation_names(listed)
    paths: dict[str, _Map] = {}
    for route, name in zip(listed, names, strict=True):
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, name, schemas)
    tags = sorted({tag for route in listed for tag in route.tags})
    shown: _Map = dict(sorted(paths.items()))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": f"Version {VERSIONS[-1].isoformat()}. Errors are problem+json (RFC 9457).",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "paths": shown,
        "components": {
            "schemas": components,
            "responses": {f"Problem{status}": _refusal(status, title) for status, title in _TITLES.items()},
            "parameters": _shared_parameters(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, `ist_live_…` or `ist_test_…`."}
            },
        },
    }


def operation_names(routes: Sequence[Route]) -> list[str]:
    """Return an operationId for each route: its own, or its handler's name, or when that is shared method and path.

    Raises ValueError for one that is given twice.
    """
    handlers = [_camel(str(getattr(route.handler, "__name__", "")).split("_")) for route in routes]
    shared = Counter(handlers)
    names = [
        route.operation or (handler if handler and shared[handler] == 1 else _from_path(route))
        for route, handler in zip(routes, handlers, strict=True)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        message = f"operations of the same name: {', '.join(twice)}; name them by Route(operation=…)"
        raise ValueError(message)
    return names


def _from_path(route: Route) -> str:
    words = route.path.removeprefix("/api/v1").replace("{", "by_").replace("}", "")
    for mark in "/:-.":
        words = words.replace(mark, "_")
    return _camel([route.method.lower(), *words.split("_")])


def _camel(words: Iterable[str]) -> str:
    first, *rest = [word for word in words if word and word != "<lambda>"] or [""]
    return first + "".join(word.capitalize() for word in rest)


def _schemas(routes: Sequence[Route]) -> tuple[dict[object, _Map], _Map]:
    """Return the schema of each type that routes name, and the components these refer to."""
    kinds: list[object] = [Problem]
    for route in routes:
        kinds += [kind for kind in (route.body, route.response) if kind is not None]
        kinds += [kind for _, kind in _query_fields(route)]
    unique = list({id(kind): kind for kind in kinds}.values())
    made, components = schema_components(unique, ref_template=_REF)
    schemas = {id(kind): schema for kind, schema in zip(unique, made, strict=True)}
    return {key: _json(schema) for key, schema in schemas.items()}, _json(components)


def _query_fields(route: Route) -> list[tuple[msgspec.structs.FieldInfo, object]]:
    if route.query is None:
        return []
    hints = _hints(route.query)
    return [(each, hints[each.name]) for each in msgspec.structs.fields(route.query)]


_hints_of: dict[type[Struct], dict[str, object]] = {}


def _hints(kind: type[Struct]) -> dict[str, object]:
    """Return a struct's annotations; the same objects each time, because schemas are kept by them."""
    if kind not in _hints_of:
        _hints_of[kind] = get_type_hints(kind, include_extras=True)
    return _hints_of[kind]


def _operation(route: Route, name: str, schemas: dict[object, _Map]) -> _Map:
    described = " ".join(part for part in (route.description, _permission_sentence(route)) if part)
    operation: _Map = {
        "operationId": name,
        "summary": route.summary,
        "description": described,
        "tags": list(route.tags),
        "security": [] if route.permission is None else [*([{}] if route.open_locally else []), {"key": []}],
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.permission not in {None, ANY_CALLER}:
        operation["x-permission"] = route.permission
    if route.body is not None or (route.accepts == "raw" and route.method in _WITH_BODY):
        media = _body_media(route)
        plain: _Map = {"type": "object"} if _speaks_json(media) else {"type": "string", "format": "binary"}
        content: _Map = {"schema": schemas[id(route.body)] if route.body else plain}
        if route.request_example is not None:
            content["examples"] = {"example": {"value": route.request_example}}
        operation["requestBody"] = {"required": True, "content": {media: content}}
    return operation


def _permission_sentence(route: Route) -> str:
    if route.permission is None:
        return "Open to everybody."
    return "Needs a credential." if route.permission == ANY_CALLER else f"Needs the permission `{route.permission}`."


def _parameters(route: Route, schemas: dict[object, _Map]) -> list[Json]:
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters(route.path)
    ]
    for each, kind in _query_fields(route):
        schema = dict(schemas[id(kind)])
        if not each.required and each.default is not msgspec.NODEFAULT and each.default is not None:
            default: Json = msgspec.to_builtins(each.default)
            schema["default"] = default
        described = schema.pop("description", None)
        parameter: _Map = {"name": each.encode_name, "in": "query", "required": each.required, "schema": schema}
        found.append(parameter | ({"description": described} if described else {}))
    shared = ["RequestId", "Version"]
    shared += ["IdempotencyKey"] * (route.method == "POST" and route.permission is not None)
    shared += ["IfMatch"] * route.if_match
    return [*found, *({"$ref": f"#/components/parameters/{name}"} for name in shared)]


def _responses(route: Route, schemas: dict[object, _Map]) -> _Map:
    empty = route.response is None and route.media == _JSON
    status = 204 if empty else route.status
    success: _Map = {"description": "Done." if empty else "The answer."}
    if not empty:
        plain: _Map = {} if _speaks_json(route.media) else {"type": "string"}
        plain = _EVENT if route.media == _EVENTS else plain
        content: _Map = {"schema": schemas[id(route.response)] if route.response else plain}
        if route.response_example is not None:
            content["examples"] = {"example": {"value": route.response_example}}
        success["content"] = {media.partition(";")[0]: content for media in (route.media, *route.other_media)}
    told = _RATE_HEADERS if route.permission is not None else {}
    success["headers"] = _headers({"X-Request-ID": "The id of this call.", **told})
    responses: _Map = {str(status): success}
    own = {error.status for error in route.errors}
    for each in sorted(_statuses(route) | own):
        raised = [error for error in route.errors if error.status == each]
        if route.is_page:
            responses[str(each)] = {
                "description": _TITLES[each],
                "content": {"text/html": {"schema": {"type": "string"}}},
            }
        elif route.refusal is not None:
            responses[str(each)] = {"description": _TITLES[each], "content": _refused(route.refusal)}
        elif raised:
            responses[str(each)] = _own_problem(raised)
        else:
            responses[str(each)] = {"$ref": f"#/components/responses/Problem{each}"}
    return responses


def _body_media(route: Route) -> str:
    """Return the type of a body; who reads one as it comes, and answers in a JSON of a standard, takes that too."""
    own = route.accepts == "raw" and route.media != _JSON and _speaks_json(route.media)
    return route.media.partition(";")[0] if own else _BODY_MEDIA[route.accepts]


def _speaks_json(media: str) -> bool:
    return media.partition(";")[0].endswith(("/json", "+json"))


def _refused(refusal: Refusal) -> _Map:
    """Return the content of refusals that another standard words, which it tells by an example."""
    media = refusal(Unavailable("An example.", fix="Nothing.")).media or PROBLEM_MEDIA
    return {media.partition(";")[0]: {"schema": {}}}


def _headers(told: dict[str, str]) -> _Map:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in told.items()}


def _statuses(route: Route) -> set[int]:
    found = {400, 422, 500, 503}
    found |= {401, 403} if route.permission is not None else set()
    found |= {404} if "{" in route.path else set()
    found |= {409} if route.method == "POST" and route.permission is not None else set()
    found |= {412, 428} if route.if_match else set()
    found |= {429} if route.permission is not None or route.method in UNSAFE else set()
    return found | ({408, 413, 415} if route.method in UNSAFE else set())


def _own_problem(raised: Sequence[type[IsthmusError]]) -> _Map:
    sentences = [f"`{error.code}`: {error.title}." for error in raised]
    return _problem(" ".join(sentences))


def _refusal(status: int, title: str) -> _Map:
    retry: _Map = {"headers": _headers(_RETRY_HEADERS)} if status in _RETRIED else {}
    return _problem(title) | retry


def _problem(description: str) -> _Map:
    schema: _Map = {"$ref": _REF.format(name=Problem.__name__)}
    return {"description": description, "content": {PROBLEM_MEDIA: {"schema": schema}}}


def _shared_parameters() -> _Map:
    return {
        "RequestId": _header(
            "X-Request-ID", "Echoed when it is 1 to 128 letters, digits and `._:-`; any other is replaced by a new one."
        ),
        "Version": _header("Isthmus-Version", "Pins behaviour to a date.", format="date", pattern=PATTERN),
        "IdempotencyKey": _header(
            "Idempotency-Key",
            "Makes a repeated call safe: for 24 hours the first answer is sent again, marked.",
            pattern='^"?[!#-~]{1,255}"?$',
        ),
        "IfMatch": _header("If-Match", "The ETag of the version that the change was made from.", required=True),
    }


def _header(name: str, description: str, *, required: bool = False, **schema: str | int) -> _Map:
    shown: _Map = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": required, "description": description, "schema": shown}


def _json(value: object) -> _Map:
    return msgspec.convert(msgspec.to_builtins(value), _Map)
