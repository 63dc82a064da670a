"""The authorisation server over HTTP."""

from isthmus.app.http.oauth import about, authorize, clients, tokens

ROUTES = (*clients.ROUTES, *tokens.ROUTES, *authorize.ROUTES, *about.ROUTES)

__all__ = ["ROUTES"]
