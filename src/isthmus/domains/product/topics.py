"""The topics of product."""

from isthmus.stream.topics import Topic

TOPICS = (
    Topic(
        name="product-use",
        about="What is used, what people say of it, and what is launched.",
        on=("isthmus.product.event.*", "isthmus.product.feedback.*", "isthmus.product.launch.*"),
        read_by=("analytics", "health scores"),
    ),
)
