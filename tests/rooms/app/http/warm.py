"""Makes all routes when it is loaded, once for all processes that are forked afterwards."""

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes

ROUTES = all_routes(schema())
