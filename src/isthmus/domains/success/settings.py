"""What a workspace may set for success (`settings.success`)."""

from msgspec import Struct

from isthmus.domains import Name


class SuccessSettings(Struct, frozen=True, kw_only=True):
    """Who has interventions for accounts without an owner, and who hears of what is not done in its time."""

    owner: Name = "success"
    lead: Name = "success-lead"
