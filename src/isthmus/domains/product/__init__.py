"""What customers do with the product, what they say of it, and what we launch."""

from isthmus.domains.product.records import EVENT, FEATURE, FEEDBACK, LAUNCH
from isthmus.kernel.marks import Domain

DOMAIN = Domain(
    name="product",
    about="How the product is used: features, usage events, feedback and launches.",
    records=(FEATURE, EVENT, FEEDBACK, LAUNCH),
)
