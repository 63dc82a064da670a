"""The topics of success."""

from isthmus.stream.topics import Topic

TOPICS = (
    Topic(
        name="customer-health",
        about="How customers are, and what is done about it.",
        on=("isthmus.success.health_snapshot.*", "isthmus.success.ticket.*", "isthmus.success.intervention.*"),
        read_by=("alerts", "success playbooks"),
    ),
)
