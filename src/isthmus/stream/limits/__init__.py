"""Limits shared by all workers and nodes: one bucket per key at an authority, drawn from in leases paid in advance.

    authority = ValkeyAuthority(lane)                       # or PostgresAuthority(database)
    leases = Leases(authority, node=node_id, ticks=monotonic_seconds)
    lease = leases.lease("caller:7:key:…", Rate(count=1000, seconds=3600, burst=10))
    refusal = leases.take((lease,), cost=1)                 # None, a Refusal, or an awaitable of either

The bound: in any window of t seconds of the authority's clock all nodes together admit at most burst + rate × t.
"""

from isthmus.stream.limits.bucket import Ask, Authority, Bucket, Grant, Rate
from isthmus.stream.limits.leases import Lease, Leases, Refusal
from isthmus.stream.limits.outgoing import OutgoingLimit, VendorQuotaUsedUp

__all__ = [
    "Ask",
    "Authority",
    "Bucket",
    "Grant",
    "Lease",
    "Leases",
    "OutgoingLimit",
    "Rate",
    "Refusal",
    "VendorQuotaUsedUp",
]
