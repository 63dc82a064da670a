"""The gateway with all routes, served over HTTP/1.1 by processes of its own.

build(services, routes=None) -> Gateway        the ASGI application (routes None: all there are)
services_of(program, others={}) -> Services    what handlers work with
all_routes(schema) -> tuple[Route, ...]

check_address(settings)                        refuses plain HTTP anywhere but on loopback
server = HttpServer.start(settings)            blocks until it answers; the engines must run on the data directory
server.url, server.running, server.stop()      ends with this program, however that ends
serve(settings)                                the same in this process, until SIGTERM or Ctrl-C
"""

from isthmus.app.http.assembly import all_routes, build, services_of
from isthmus.app.http.server import AddressRefused, HttpServer, ServerFailed, check_address, serve

__all__ = [
    "AddressRefused",
    "HttpServer",
    "ServerFailed",
    "all_routes",
    "build",
    "check_address",
    "serve",
    "services_of",
]
