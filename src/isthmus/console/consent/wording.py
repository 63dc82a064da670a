"""Scopes in the words of the person who is asked."""

from collections.abc import Sequence

_WORDS = {
    "openid": "know who you are",
    "profile": "see your name",
    "email": "see your e-mail address",
    "offline_access": "go on for up to 30 days while you are away",
}
_VERBS = {
    "read": "read {area}",
    "write": "change {area}",
    "analyse": "evaluate {area}",
    "read_personal": "see names and addresses in {area}",
    "administer": "administer {area}",
    "*": "do everything in {area}",
}


def said(scopes: Sequence[str]) -> list[tuple[str, str]]:
    """Return each scope with what it lets a program do."""
    return [(scope, _words(scope)) for scope in scopes]


def _words(scope: str) -> str:
    if scope in _WORDS:
        return _WORDS[scope]
    area, colon, verb = scope.partition(":")
    if colon:
        return _VERBS.get(verb, "{area}: " + verb).format(area=area)
    domain, dot, role = scope.rpartition(".")
    return f"do what a {role} of {domain} does" if dot else f"do what the role {role} does"
