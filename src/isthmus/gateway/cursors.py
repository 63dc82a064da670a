"""Cursors: where a list goes on, sealed against alteration and bound to the list they came from."""

import base64
import binascii
import hmac
from dataclasses import dataclass, field

from isthmus.kernel.errors import Fault, Invalid

_MAC_BYTES = 16


class InvalidCursor(Invalid):
    """The cursor was altered, or belongs to another list or other filters."""

    code, title = "invalid-cursor", "The cursor does not belong to this list"


@dataclass(frozen=True, kw_only=True)
class Cursors:
    """Writes and reads cursors of one list; `bound` names the list with its filters."""

    key: bytes = field(repr=False)
    bound: str

    def write(self, after: str) -> str:
        """Return the cursor of the place after `after`."""
        place = after.encode()
        return base64.urlsafe_b64encode(self._mac(place) + place).rstrip(b"=").decode()

    def read(self, cursor: str) -> str:
        """Return the place in a cursor; raises InvalidCursor."""
        try:
            plain = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            # The last character has bits that say nothing: a cursor is taken in the one form in which it was given.
            canonical = base64.urlsafe_b64encode(plain).rstrip(b"=").decode() == cursor
            if canonical and hmac.compare_digest(plain[:_MAC_BYTES], self._mac(plain[_MAC_BYTES:])):
                return plain[_MAC_BYTES:].decode()
        except (binascii.Error, ValueError):
            pass
        fault = Fault(
            pointer="/query/cursor", code=InvalidCursor.code, detail="This cursor was not given for this list."
        )
        raise InvalidCursor(fault.detail, fix="Start again without a cursor.", faults=(fault,))

    def _mac(self, place: bytes) -> bytes:
        content = len(self.bound.encode()).to_bytes(4, "big") + self.bound.encode() + place
        return hmac.digest(self.key, content, "sha256")[:_MAC_BYTES]
