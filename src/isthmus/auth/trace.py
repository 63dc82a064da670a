"""A line in the audit log, in the transaction of what it tells of."""

from isthmus.audit.trace import trace

__all__ = ["trace"]
