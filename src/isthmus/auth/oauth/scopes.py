"""Scopes: what a token may be used for at most.

A scope is a permission (`sales:read`), a whole area (`sales:*`), a role (`sales.viewer`), or one of OpenID Connect's.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from isthmus.auth.oauth.errors import InvalidScope
from isthmus.auth.roles import surviving

OPENID, PROFILE, EMAIL, OFFLINE = "openid", "profile", "email", "offline_access"
OIDC = (OPENID, PROFILE, EMAIL, OFFLINE)
SCOPES_MAX = 100
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")


def read_scopes(text: str) -> tuple[str, ...]:
    """Return the scopes of a parameter, each once, in their order; raises InvalidScope."""
    found = tuple(dict.fromkeys(part for part in text.split(" ") if part))
    if len(found) > SCOPES_MAX or not all(_SCOPE.fullmatch(each) for each in found):
        raise InvalidScope("The parameter scope cannot be read.", fix="Send scopes with one space between them.")
    return found


def allowed_by(scopes: Iterable[str], *, domains: Sequence[str]) -> frozenset[str]:
    """Return the permissions that scopes stand for; those that stand for none are passed over."""
    own = [each for each in scopes if each not in OIDC]
    single = [each for each in own if ":" in each]
    return surviving([each for each in own if ":" not in each], single, domains=domains)


def is_known(scope: str, *, domains: Sequence[str]) -> bool:
    """Tell whether there is such a scope."""
    return scope in OIDC or bool(allowed_by((scope,), domains=domains))


def narrowed(wanted: Sequence[str], *, to: Collection[str], domains: Sequence[str]) -> tuple[str, ...]:
    """Return what is wanted, or all there is where nothing is named; raises InvalidScope for more than there is.

    A scope is part of others when they stand for all its permissions together: `sales:read` is part of `sales:*`.
    """
    if excess := [each for each in wanted if not is_part(each, of=to, domains=domains)]:
        raise InvalidScope(f"The scope {excess[0]} may not be asked for here.", fix="Ask for less.")
    return tuple(wanted) or tuple(to)


def is_part(scope: str, *, of: Collection[str], domains: Sequence[str]) -> bool:
    """Tell whether a scope is one of others, or stands for no more than they do."""
    if scope in of:
        return True
    own = allowed_by((scope,), domains=domains)
    return bool(own) and own <= allowed_by(of, domains=domains)
