"""Signing in with a refresh token that somebody gave, where no consent is kept here (RFC 6749 §6)."""

from collections.abc import Mapping

from isthmus.kernel.words import at_path, text
from isthmus.sync.calls import Calls
from isthmus.sync.connector import Authorise, ConnectorError, KeyRefused

TOKEN_PATH = "/token"  # noqa: S105 - a path, and no password.
_NAMES = ("client_id", "client_secret", "refresh_token")


def itself(calls: Calls, settings: Mapping[str, str]) -> Authorise:
    """Return what proves who we are; `calls` speak with the address for tokens."""
    app = {name: settings.get(name, "").strip() for name in _NAMES}
    held: list[str] = []

    async def authorise(fresh: bool) -> dict[str, str]:  # noqa: FBT001 - as Calls asks it.
        if missing := [name for name, value in app.items() if not value]:
            raise ConnectorError(
                f"There is nothing to sign in with: {', '.join(missing)} is missing.",
                fix="Give all three, or consent: isthmus connect authorize NAME",
            )
        if fresh or not held:
            form = {"grant_type": "refresh_token", **app}
            answer = await calls.send("POST", TOKEN_PATH, form=form, safe=True)
            token = text(at_path(answer.json(), "access_token")) if answer.good else None
            if token is None:
                raise KeyRefused(
                    f"Google gives no token for what we showed ({answer.status}).",
                    fix="Check `client_id` and `client_secret`, and give a new `refresh_token`.",
                )
            held[:] = [token]
        return {"Authorization": f"Bearer {held[0]}"}

    return authorise
