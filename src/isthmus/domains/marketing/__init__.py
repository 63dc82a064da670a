"""Campaigns, the touches they make, the audiences they reach and what those agreed to."""

from isthmus.domains.marketing.records import AUDIENCE, CAMPAIGN, CAMPAIGN_MEMBER, CONSENT, TOUCH
from isthmus.kernel.marks import Domain

DOMAIN = Domain(
    name="marketing",
    about="How we reach people: campaigns, members, touches, audiences and consent.",
    records=(CAMPAIGN, CAMPAIGN_MEMBER, TOUCH, AUDIENCE, CONSENT),
)
