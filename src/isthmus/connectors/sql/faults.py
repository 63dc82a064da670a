"""What databases refuse, in words; each driver's own errors become one of these."""

from isthmus.sync.connector import ConnectorError, FeedTrouble


class Denied(FeedTrouble):
    """The user lacks a right on a table."""

    code, title = "table-denied", "A right on the table is missing"


class Missing(FeedTrouble):
    """A table or column is not there, or not any more."""

    code, title = "table-missing", "The table is not as it was mapped"


class RowRefused(ConnectorError):
    """The database refuses what one row would hold; it will refuse it again."""

    status, code, title = 422, "row-refused", "The database refuses the row"


class Busy(ConnectorError):
    """Another transaction was faster, or holds what this one needs."""

    code, title = "database-busy", "The database is busy"
