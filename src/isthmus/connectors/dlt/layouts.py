"""What rows of a source of dlt may become. Pure."""

TYPES = (
    *("sales.account", "sales.person", "sales.lead", "sales.deal", "sales.activity"),
    *("marketing.campaign", "marketing.campaign_member", "marketing.touch", "marketing.audience", "marketing.consent"),
    *("product.feature", "product.event", "product.feedback", "product.launch"),
    *("finance.vendor", "finance.budget", "finance.spend", "finance.subscription", "finance.invoice"),
    *("finance.payment", "success.ticket"),
)
