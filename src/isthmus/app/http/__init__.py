"""The gateway with all routes, served over HTTP/1.1 by processes of its own.

assembly   build(services, routes=None) -> Gateway        the ASGI application (routes None: all there are)
           services_of(program, others={}) -> Services    what handlers work with
           all_routes(schema) -> tuple[Route, ...]
server     check_address(settings)                        refuses plain HTTP anywhere but on loopback
           server = HttpServer.start(settings)            blocks until it answers; the engines must run
           server.url, server.running, server.stop()      ends with this program, however that ends
serving    serve(settings)                                the same in this process, until SIGTERM or Ctrl-C

Nothing is imported here: a command that asks for one of these does not wait for all the others.
"""
