"""Pages of documentation, written by the server: the operations, and what each error code means."""

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

from isthmus.gateway.openapi import operation_names
from isthmus.gateway.routes import ANY_CALLER, Route
from isthmus.gateway.sending import PAGE_POLICY
from isthmus.kernel.errors import IsthmusError

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:60rem;margin:2rem auto;padding:0 1rem}
h2{margin-top:2.5rem}
article{border-top:1px solid;padding:.75rem 0}
h3{margin:0;font-size:1rem;overflow-wrap:anywhere}
p{margin:.25rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem;margin:0}
dd{margin:0;overflow-wrap:anywhere}
"""
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY = PAGE_POLICY.replace("style-src 'self'", f"style-src 'sha256-{_STYLE_HASH}'")


def operations_page(routes: Sequence[Route], *, title: str) -> bytes:
    """Return the page of all listed operations, by tag."""
    listed = [route for route in routes if route.listed]
    named = sorted(zip(listed, operation_names(listed), strict=True), key=lambda each: (each[0].path, each[0].method))
    parts = ['<p><a href="/openapi.json">OpenAPI 3.1</a> · <a href="/docs/errors">Errors</a></p>']
    for tag in sorted({route.tags[:1] for route in listed}):
        parts.append(f"<h2>{escape(''.join(tag) or 'other')}</h2>")
        parts += [_operation(route, name) for route, name in named if route.tags[:1] == tag]
    return _page(f"{title}: operations", "".join(parts))


def errors_page(errors: Iterable[type[IsthmusError]]) -> bytes:
    """Return the page of all error codes."""
    rows = [
        f'<dt><a href="/docs/errors/{each.code}">{each.code}</a></dt><dd>{escape(each.title)}</dd>' for each in errors
    ]
    return _page("Errors", f"<dl>{''.join(rows)}</dl>")


def error_page(errors: Sequence[type[IsthmusError]]) -> bytes:
    """Return the page of one code, which several errors may share."""
    first = errors[0]
    told = "".join(f"<p>{escape(_told(each))}</p>" for each in errors)
    return _page(first.title, f"<p>Code <code>{first.code}</code>, status {first.status}.</p>{told}")


def known_errors() -> dict[str, list[type[IsthmusError]]]:
    """Return every kind of error that is loaded, by code."""
    found: dict[str, list[type[IsthmusError]]] = {}
    waiting: list[type[IsthmusError]] = [IsthmusError]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.code, []).append(kind)
        waiting += kind.__subclasses__()
    return dict(sorted(found.items()))


def _told(kind: type[IsthmusError]) -> str:
    return " ".join((kind.__doc__ or kind.title).split())


def _operation(route: Route, name: str) -> str:
    needed = {None: "everybody", ANY_CALLER: "any credential"}.get(route.permission, route.permission or "")
    return (
        f'<article id="{escape(name)}"><h3><code>{route.method} {escape(route.path)}</code></h3>'
        f"<p>{escape(route.summary)}. {escape(route.description)}</p>"
        f"<p>Permission: <code>{escape(needed)}</code></p></article>"
    )


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f'<body><main><h1>{escape(title)}</h1>{body}<p><a href="/docs">Operations</a></p></main></body></html>'
    ).encode()
