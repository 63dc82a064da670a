"""What a workspace may set for marketing (`settings.marketing`)."""

from msgspec import Struct

from isthmus.domains import Count
from isthmus.domains.marketing.rules import AUDIENCE_SIZE_MAX, AUDIENCE_SIZE_MIN


class MarketingSettings(Struct, frozen=True, kw_only=True):
    """How small and how large an audience may be."""

    audience_size_min: Count = AUDIENCE_SIZE_MIN
    audience_size_max: Count = AUDIENCE_SIZE_MAX
