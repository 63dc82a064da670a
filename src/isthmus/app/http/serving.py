"""The server itself: settings from the environment, a socket for each worker, the workers below it."""

import os
import signal
import threading

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes
from isthmus.app.http.server import LEASHED, check_address
from isthmus.app.http.supervising import listen, supervise
from isthmus.app.http.tls import with_groups
from isthmus.app.http.worker import counts_file, work
from isthmus.app.log import configure_log
from isthmus.app.settings import Settings, read_settings
from isthmus.gateway.metrics import block_bytes


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and replace dead workers; raises AddressRefused, and OSError for a port in use."""
    check_address(settings)
    if settings.tls_certificate is not None:
        with_groups()
    size = block_bytes(routes=len(all_routes(schema())), workers=settings.workers)
    counts = counts_file(settings)
    counts.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sockets = listen(settings.host, settings.port, count=settings.workers)
    counts.write_bytes(bytes(size))
    supervise(sockets, work)


def _end_with_the_pipe() -> None:
    """Wait until whoever started us lets go of our standard input, however it ended, then end in order."""
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Serve with the settings of the environment."""
    settings = read_settings()
    configure_log(settings.log_level)
    if LEASHED in os.environ:
        threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    serve(settings)
