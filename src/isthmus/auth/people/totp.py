"""One-time codes (TOTP, RFC 6238): SHA-1, six digits, steps of 30 seconds, one step either way.

The step of a code that was taken is stored, and nothing of that step or before it is taken again.
"""

import hmac
from datetime import datetime

from pyotp import random_base32
from pyotp.totp import TOTP

STEP_S, DIGITS, DRIFT_STEPS = 30, 6, 1
ISSUER = "isthmus"


def new_secret() -> str:
    """Return a fresh secret of 160 bits in base 32."""
    return random_base32(32)


def enrolment_url(secret: str, *, account: str, workspace: str) -> str:
    """Return the `otpauth:` address that an authenticator reads from a QR code."""
    issuer = f"{ISSUER} {workspace}".replace(":", " ")
    return TOTP(secret).provisioning_uri(name=account.replace(":", " "), issuer_name=issuer)


def step_of(secret: str, code: str, *, after: int, now: datetime) -> int | None:
    """Return the time step whose code this is, if it is later than `after`."""
    given = "".join(code.split())
    if len(given) != DIGITS or not (given.isascii() and given.isdigit()):
        return None
    own, present = TOTP(secret), int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - DRIFT_STEPS, present + DRIFT_STEPS + 1):
        if hmac.compare_digest(own.generate_otp(step).encode(), given.encode()) and step > after:
            found = step
    return found
