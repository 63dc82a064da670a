"""Reading what Salesforce answers, where it must be as documented."""

from typing import cast

from isthmus.connectors.salesforce.wire import Row, is_id, whole_id
from isthmus.kernel.marks import Json
from isthmus.sync.connector import NotAsDocumented

REPORT = "Report it to the author of the connector."


def record_id(row: Row) -> str:
    """Return the id of a row, in 18 characters; raises NotAsDocumented."""
    found = row.get("Id")
    if isinstance(found, str) and is_id(found):
        return whole_id(found)
    raise NotAsDocumented("A row has no id.", fix=REPORT)


def as_map(value: Json) -> Row:
    """Return a map; raises NotAsDocumented for anything else."""
    if not isinstance(value, dict):
        raise NotAsDocumented("What answers is not Salesforce.", fix="Check `url`.")
    return cast("Row", value)
