"""The topics of success."""

from isthmus.stream.topics import Declared, Topic

EVENTS = (
    Declared(
        type="isthmus.success.intervention.notified.v1",
        record="success.intervention",
        about="A playbook asks the owner of an intervention to look at it.",
    ),
    Declared(
        type="isthmus.success.intervention.escalated.v1",
        record="success.intervention",
        about="A task of a playbook was not done in its time, and somebody else is to look at it.",
    ),
)
TOPICS = (
    Topic(
        name="customer-health",
        about="How customers are, and what is done about it.",
        on=("isthmus.success.health_snapshot.*", "isthmus.success.ticket.*", "isthmus.success.intervention.*"),
        read_by=("alerts", "success playbooks"),
    ),
)
