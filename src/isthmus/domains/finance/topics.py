"""The topics of finance."""

from isthmus.stream.topics import Topic

TOPICS = (
    Topic(
        name="payments",
        about="Invoices, payments and subscriptions.",
        on=("isthmus.finance.invoice.*", "isthmus.finance.payment.*", "isthmus.finance.subscription.*"),
        read_by=("analytics", "reports"),
    ),
    Topic(
        name="revenue-attribution",
        about="What moves the credit of campaigns: outcomes and the touches before them.",
        on=(
            "isthmus.sales.deal.*",
            "isthmus.marketing.touch.*",
            "isthmus.finance.spend.*",
            "isthmus.finance.payment.*",
        ),
        read_by=("analytics", "reports", "CRM write-back"),
    ),
)
