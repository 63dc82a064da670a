"""What a person says of the streams of a connector of Airbyte. Pure."""

from typing import Literal

from isthmus.sync.streams import Stream

TYPES = (
    *("sales.account", "sales.person", "sales.lead", "sales.deal", "sales.activity"),
    *("marketing.campaign", "marketing.campaign_member", "marketing.touch", "marketing.audience", "marketing.consent"),
    *("product.feature", "product.event", "product.feedback", "product.launch"),
    *("finance.vendor", "finance.budget", "finance.spend", "finance.subscription", "finance.invoice"),
    *("finance.payment", "success.ticket"),
)


class Configured(Stream, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A stream of a connector. `mode` and `cursor` are for those that leave the choice; `namespace` where names repeat.

    Without `mode` it is read incrementally where the connector can.
    """

    mode: Literal["incremental", "full_refresh"] | None = None
    cursor: str | None = None
    namespace: str | None = None
