"""The topics of marketing."""

from isthmus.stream.topics import Topic

TOPICS = (
    Topic(
        name="campaign-performance",
        about="Campaigns, who they reach, and what they cost.",
        on=(
            "isthmus.marketing.campaign.*",
            "isthmus.marketing.campaign_member.*",
            "isthmus.marketing.touch.*",
            "isthmus.finance.spend.*",
        ),
        read_by=("analytics", "reports"),
    ),
    Topic(
        name="consent",
        about="Consent given, changed and withdrawn.",
        on=("isthmus.marketing.consent.*",),
        read_by=("CRM sync", "follow-ups"),
    ),
)
