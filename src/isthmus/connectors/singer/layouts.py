"""What a person says of a tap's streams. Pure."""

from typing import Literal

from isthmus.sync.streams import Stream

TYPES = (
    *("sales.account", "sales.person", "sales.lead", "sales.deal", "sales.activity"),
    *("marketing.campaign", "marketing.campaign_member", "marketing.touch", "marketing.audience", "marketing.consent"),
    *("product.feature", "product.event", "product.feedback", "product.launch"),
    *("finance.vendor", "finance.budget", "finance.spend", "finance.subscription", "finance.invoice"),
    *("finance.payment", "success.ticket"),
)


class Tapped(Stream, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A stream of a tap. `replication` and `replication_key` are for taps that ask how it is to be read."""

    replication: Literal["FULL_TABLE", "INCREMENTAL", "LOG_BASED"] | None = None
    replication_key: str | None = None
