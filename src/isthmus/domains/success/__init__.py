"""How customers fare, what they ask for, and what is done when they are at risk."""

from isthmus.domains.success.records import HEALTH_SNAPSHOT, INTERVENTION, TICKET
from isthmus.kernel.marks import Domain

DOMAIN = Domain(
    name="success",
    about="How customers fare: tickets, health over time and interventions.",
    records=(TICKET, HEALTH_SNAPSHOT, INTERVENTION),
)
