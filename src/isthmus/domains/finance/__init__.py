"""What we spend, what we planned to spend, and what customers pay."""

from isthmus.domains.finance.records import BUDGET, INVOICE, PAYMENT, SPEND, SUBSCRIPTION, VENDOR
from isthmus.kernel.marks import Domain

DOMAIN = Domain(
    name="finance",
    about="What goes out and what comes in: vendors, budgets, spend, subscriptions, invoices and payments.",
    records=(VENDOR, BUDGET, SPEND, SUBSCRIPTION, INVOICE, PAYMENT),
)
