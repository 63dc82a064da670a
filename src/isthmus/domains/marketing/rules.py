"""What marketing allows: campaigns that make sense. No input, no output, no clock."""

from isthmus.domains.marketing.records import Campaign, CampaignStatus
from isthmus.kernel.errors import Fault

AUDIENCE_SIZE_MIN, AUDIENCE_SIZE_MAX = 100, 1_000_000


def campaign_faults(
    campaign: Campaign, *, audience_size_min: int = AUDIENCE_SIZE_MIN, audience_size_max: int = AUDIENCE_SIZE_MAX
) -> tuple[Fault, ...]:
    """Return what is wrong with a campaign, one sentence each; a workspace may widen the bounds of the audience."""
    faults: list[Fault] = []
    size = campaign.audience_size
    if size is not None and not audience_size_min <= size <= audience_size_max:
        detail = f"An audience has {audience_size_min:,} to {audience_size_max:,} people, this one {size:,}."
        faults.append(Fault(pointer="/audience_size", code="audience-size", detail=detail))
    if campaign.starts_on and campaign.ends_on and campaign.ends_on < campaign.starts_on:
        detail = f"The campaign ends on {campaign.ends_on}, before it starts on {campaign.starts_on}."
        faults.append(Fault(pointer="/ends_on", code="ends-before-start", detail=detail))
    if campaign.budget is not None and campaign.budget.amount < 0:
        detail = "A budget cannot be below zero. Leave it out when there is none."
        faults.append(Fault(pointer="/budget/amount", code="negative-money", detail=detail))
    if campaign.status is CampaignStatus.ACTIVE and not campaign.channel:
        detail = "An active campaign needs a channel, such as email or paid_search, or nothing can be attributed to it."
        faults.append(Fault(pointer="/channel", code="required", detail=detail))
    return tuple(faults)
