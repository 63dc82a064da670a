"""What Mailchimp's calls tell: a contact of the audience changed, or a campaign was sent; it is then asked for.

Calls are forms, and prove nothing but that they know the address; so nothing that they say is believed.
https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/
"""

from collections.abc import Iterable
from hashlib import md5
from urllib.parse import parse_qs

from isthmus.stream.webhooks.verifying import SecretInAddress
from isthmus.sync.connector import Inbound, Raw

MEMBERS, CAMPAIGNS = "members", "campaigns"
_OF_CONTACTS = ("subscribe", "unsubscribe", "profile", "cleaned", "upemail")


class NoCall(ValueError):
    """What came is no call of Mailchimp's."""


def place(email: str) -> str:
    """Return where the contact of an address stands: at the MD5 of it in small letters."""
    return md5(email.strip().lower().encode(), usedforsecurity=False).hexdigest()


def read(body: bytes) -> Iterable[tuple[str, Raw | str]]:
    """Yield the contact or campaign that a call tells of; raises NoCall."""
    form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
    kind = form.get("type")
    if kind is None:
        message = "it names no type"
        raise NoCall(message)
    email = form.get("data[new_email]") or form.get("data[email]")
    if kind in _OF_CONTACTS and email:
        yield MEMBERS, place(email)
    elif kind == "campaign" and (own := form.get("data[id]")) is not None and own.isalnum():
        yield CAMPAIGNS, own


SHARED = "webhook_secret"
INBOUND = Inbound(verifier=SecretInAddress(), secret=SHARED, read=read, greets=True)
"""Mailchimp looks by GET whether the address is taken, and shows the secret that the address holds."""
