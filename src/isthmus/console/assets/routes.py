"""Style, script and icon under names that change with their content, so that browsers keep them for ever."""

import gzip
from functools import cache

from isthmus.console.pages import ASSETS, THEME_COOKIE, THEMES, asset
from isthmus.gateway import Call, Response, Route, redirect
from isthmus.kernel.errors import NotFound

_FOR_EVER = ("cache-control", "public, max-age=31536000, immutable")
THEME_S = 365 * 24 * 3600


class AssetMissing(NotFound):
    """There is no such asset or scheme."""

    code, title = "asset-missing", "There is no such file"


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(asset(name), mtime=0)


async def serve(call: Call) -> Response:
    """Serve an asset, packed for browsers that can unpack."""
    name = call.path["name"]
    if name not in ASSETS:
        raise AssetMissing("There is no such file.", fix="Load the page again.")
    if "gzip" in call.headers.get("accept-encoding", ""):
        packed = (_FOR_EVER, ("content-encoding", "gzip"), ("vary", "accept-encoding"))
        return Response(body=_packed(name), media=ASSETS[name], headers=packed)
    return Response(body=asset(name), media=ASSETS[name], headers=(_FOR_EVER, ("vary", "accept-encoding")))


async def choose_theme(call: Call) -> Response:
    """Remember a colour scheme in a cookie of this browser, and go back to the overview."""
    chosen = call.path["theme"]
    if chosen not in THEMES:
        raise AssetMissing("There is no such scheme.", fix=f"Choose one of {', '.join(THEMES)}.")
    back = redirect("/")
    cookie = f"{THEME_COOKIE}={chosen}; Path=/; Max-Age={THEME_S}; SameSite=Lax{'; Secure' if call.secure else ''}"
    return Response(body=back.body, status=back.status, headers=(*back.headers, ("set-cookie", cookie)))


ROUTES = (
    Route(
        method="GET",
        path="/assets/{version}/{name}",
        permission=None,
        handler=serve,
        summary="A style, script or icon",
        media="application/octet-stream",
        listed=False,
    ),
    Route(
        method="GET",
        path="/theme/{theme}",
        permission=None,
        handler=choose_theme,
        summary="Choose a colour scheme",
        media="text/html; charset=utf-8",
        listed=False,
    ),
)
