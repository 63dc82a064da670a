"""Leads, deals and their stages, and what brought them."""

from isthmus.domains.sales.records import ACCOUNT, ACTIVITY, DEAL, LEAD, PERSON, STAGE_CHANGE
from isthmus.kernel.marks import Domain

DOMAIN = Domain(
    name="sales",
    about="Who we sell to and how far we are: accounts, people, leads, deals, stages and activities.",
    records=(ACCOUNT, PERSON, LEAD, DEAL, STAGE_CHANGE, ACTIVITY),
)
