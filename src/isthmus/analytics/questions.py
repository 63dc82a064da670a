"""Query parameters of every question about credit, so that all domains ask alike."""

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from isthmus.analytics.attribution import HALF_LIFE_DAYS, WINDOW_DAYS
from isthmus.analytics.credits import Asked

ModelName: TypeAlias = Literal["first", "last", "last_non_direct", "linear", "time_decay", "position"]
WindowText = Annotated[
    str,
    Meta(
        pattern=r"^([1-9][0-9]{0,3}|all)$",
        description="How many days before the decision count: 1 to 9999, or `all` for the whole past.",
    ),
]
HalfLife = Annotated[float, Meta(gt=0, le=3650, description="Half-life of `time_decay` in days.")]
AsOf = Annotated[datetime, Meta(tz=True, description="What had closed by then counts (RFC 3339); now when absent.")]


class CreditQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which model, over how long a window, and as of when."""

    model: ModelName = "linear"
    window: WindowText = str(WINDOW_DAYS)
    as_of: AsOf | None = None
    half_life: HalfLife = HALF_LIFE_DAYS

    def asked(self, *, by: str, now: datetime) -> Asked:
        """Return the question over the buckets of one column."""
        return Asked(
            by=by,
            model=self.model,
            as_of=self.as_of or now,
            window_days=None if self.window == "all" else int(self.window),
            half_life_days=self.half_life,
        )
