"""What serves upstreams, made for one worker."""

from collections.abc import Mapping

from isthmus.app.upstreams.calling import Calling
from isthmus.app.upstreams.identity import Identities
from isthmus.app.upstreams.reach import Reach
from isthmus.app.upstreams.register import Register, Rules
from isthmus.app.upstreams.serving import Upstreams
from isthmus.app.upstreams.ways import Ways
from isthmus.audit.queue import AuditQueue
from isthmus.auth.oauth.provider import Provider
from isthmus.auth.roles import all_permissions
from isthmus.gateway.epoch import Epoch


def rules_of(reach: Reach, *, domains: tuple[str, ...]) -> Rules:
    """Return what may be registered."""
    permissions = all_permissions(domains=domains)
    return Rules(outbound=reach.outbound, own_hosts=reach.own_hosts, permissions=permissions)


def upstream_services(provider: Provider, epoch: Epoch, *, reach: Reach, trail: AuditQueue) -> Mapping[type, object]:
    """Return the services that handlers of upstreams ask for; writes are told to `trail`."""
    upstreams = Upstreams(
        register=Register(provider.database, epoch),
        identities=Identities(provider),
        calling=Calling(reach.outbound),
        ways=Ways(),
        trail=trail,
    )
    return {Upstreams: upstreams, Rules: rules_of(reach, domains=provider.domains)}
