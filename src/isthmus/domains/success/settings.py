"""What a workspace may set for customer success (`settings.success`)."""

from typing import Annotated

from msgspec import Meta, Struct


class SuccessSettings(Struct, frozen=True, kw_only=True):
    """Health is written down once a day, after `health_hour` in `time_zone` (IANA), unless `health_daily` is off."""

    health_daily: bool = True
    health_hour: Annotated[int, Meta(ge=0, le=23)] = 6
    time_zone: str = "UTC"
