"""Consent as an attribute of records: for what, and by which ways, the person behind a record agreed.

`resource.consents` is a set of texts. `"marketing"` is in it while consent to that is given by some way, and not
withdrawn for every way; `"marketing/email"` while it is given by this way or by every way, and withdrawn by neither. An
end that has come counts as not given. Where nobody stands behind a record the set is empty.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from isthmus.kernel.marks import Agreement, RecordType

CONSENTS = "consents"
BETWEEN = "/"


@dataclass(frozen=True)
class Behind:
    """Where the agreements of whoever stands behind a record are: `column` of the record names them by id."""

    record_type: RecordType
    agreement: Agreement
    column: str
    person: str

    def condition(self, said: str, *, now: datetime) -> tuple[str, list[object]]:
        """Return the condition in SQL under which a text is in the set, and what is bound to it."""
        purpose, between, way = said.partition(BETWEEN)
        own, agreement = f"a.{self.agreement.way}", self.agreement
        given, ways = ("", list[object]()) if not between else (f" and {own} in (%s, %s)", [way, agreement.every])
        refused = given or f" and {own} = %s"
        refused_ways = ways or [agreement.every]
        valid = f" and (a.{agreement.until} is null or a.{agreement.until} > %s)"
        sql = f"(exists ({self._said(given)}{valid}) and not exists ({self._said(refused)}))"
        bound = [self.person, purpose, agreement.given, *ways, now]
        return sql, [*bound, self.person, purpose, agreement.withdrawn, *refused_ways]

    def _said(self, more: str) -> str:
        """Write who said so. The column stands in a subquery of its own, where it can only be that of the record."""
        agreement, table = self.agreement, self.record_type.table
        return (
            f"select from (select {self.column} as whose) own, {table} a"
            f" where a.workspace = current_workspace() and a.{agreement.whose} in (select same_as(%s, own.whose))"
            " and a.deleted_at is null and a.merged_into is null"
            f" and a.{agreement.purpose} = %s and a.{agreement.word} = %s{more}"
        )


def behind(record_type: RecordType, types: Iterable[RecordType]) -> Behind | None:
    """Return where to look for agreements about records of a type, or None where there are none."""
    for each in types:
        if each.agreement is not None:
            field = each.field(each.agreement.whose)
            if field is None or field.to is None:
                continue
            if field.to == record_type.name:
                return Behind(each, each.agreement, "id", field.to)
            column = next((one.name for one in record_type.open_fields if one.to == field.to), None)
            if column is not None:
                return Behind(each, each.agreement, column, field.to)
    return None
