"""What sales tells beside changes of its records, and the topics that others follow."""

from isthmus.stream.topics import Declared, Topic

EVENTS = (
    Declared(
        type="isthmus.sales.lead.notified.v1",
        record="sales.lead",
        about="A follow-up asks the owner of a lead to look at it.",
    ),
    Declared(
        type="isthmus.sales.lead.escalated.v1",
        record="sales.lead",
        about="A task of a follow-up was not done in its time, and somebody else is to look at it.",
    ),
)
TOPICS = (
    Topic(
        name="lead-capture",
        about="Leads as they come in and move on.",
        on=("isthmus.sales.lead.*",),
        read_by=("CRM sync", "alerts"),
    ),
    Topic(
        name="deals",
        about="Deals and the stages they go through.",
        on=("isthmus.sales.deal.*", "isthmus.sales.stage_change.*"),
        read_by=("analytics", "success playbooks"),
    ),
)
