"""What things mean: marketing, sales, product, success and finance, which never import each other.

Here stand the value types that all five use.
"""

from datetime import datetime
from typing import Annotated, TypeAlias

from msgspec import Meta

from isthmus.kernel.marks import LINE_MAX

CUSTOM_FIELDS_MAX = 200
EMAIL_MAX = 254
EMAIL_PATTERN = r"^[^@\s,;<>()]+@[^@\s,;<>()]+\.[^@\s,;<>().]{2,}$"

Name = Annotated[str, Meta(min_length=1, max_length=LINE_MAX)]
Email = Annotated[
    str,
    Meta(
        pattern=EMAIL_PATTERN,
        max_length=EMAIL_MAX,
        description="Send an e-mail address such as name@company.example.",
    ),
]
Moment = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Tags = Annotated[list[str], Meta(max_length=CUSTOM_FIELDS_MAX)]
CustomValue: TypeAlias = str | int | float | bool | None
Custom = Annotated[dict[str, CustomValue], Meta(max_length=CUSTOM_FIELDS_MAX)]
