"""One word for one status everywhere: of connections, runs, streams and jobs."""

from enum import StrEnum


class Status(StrEnum):
    """The one vocabulary of statuses."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    NEEDS_ATTENTION = "needs attention"
    PAUSED = "paused"
