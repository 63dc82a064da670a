"""Making pages: templates, the addresses of assets, the colour scheme that somebody chose."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from isthmus.console import chart, words
from isthmus.gateway import HTML, Call, Response

ASSETS = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "passkeys.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
THEME_COOKIE = "isthmus_theme"
THEMES = ("auto", "light", "dark")


@cache
def asset(name: str) -> bytes:
    """Return an asset's content; raises KeyError for one that does not exist."""
    return files("isthmus.console").joinpath("assets", "files", {each: each for each in ASSETS}[name]).read_bytes()


@cache
def version_of_assets() -> str:
    """Return a name for the present content of all assets, so that browsers may keep them for ever."""
    digest = sha256()
    for name in sorted(ASSETS):
        digest.update(asset(name))
    return digest.hexdigest()[:12]


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("isthmus.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, values: Mapping[str, object]) -> str:
    """Return a template filled in; everything that is not markup made here is escaped."""
    common = {"words": words, "bar": chart.bar, "assets": f"/assets/{version_of_assets()}"}
    return _templates().get_template(template).render({**common, **values})


def theme(call: Call) -> str:
    """Return the colour scheme that was chosen: auto follows the system."""
    try:
        cookie = SimpleCookie(call.headers.get("cookie", "")).get(THEME_COOKIE)
    except CookieError:
        return THEMES[0]
    return cookie.value if cookie is not None and cookie.value in THEMES else THEMES[0]


def page(call: Call, template: str, values: Mapping[str, object], *, status: int = 200) -> Response:
    """Return a whole page as an answer."""
    caller = call.caller
    common: dict[str, object] = {
        "theme": theme(call),
        "path": call.route.path,
        "csrf": caller.csrf if caller is not None else "",
        "signed_in": caller.name if caller is not None and caller.kind == "session" else "",
        "has_account": caller is not None and caller.user is not None,
        "may_watch": caller is not None and caller.may("gateway:read"),
        "may_see_systems": caller is not None and caller.may("sync:read"),
        "may_see_work": caller is not None and caller.may("stream:read"),
        "may_invite": caller is not None and caller.may("gateway:write"),
    }
    return Response(body=render(template, {**common, **values}).encode(), status=status, media=HTML)
