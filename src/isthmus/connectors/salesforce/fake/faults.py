"""How the fake says no: the status, and a list of errors with Salesforce's own codes and sentences."""

from isthmus.connectors.salesforce.wire import Row


class Refused(Exception):
    """What Salesforce refuses; one by one as a list, in a collection as a part of its answer."""

    def __init__(self, status: int, code: str, message: str, *fields: str) -> None:
        """`fields` are those that it is about."""
        super().__init__(message)
        self.status, self.code, self.message, self.fields = status, code, message, fields

    def alone(self) -> Row:
        """Return the error as the answer to a request about one record says it."""
        told: Row = {"message": self.message, "errorCode": self.code}
        if self.fields:
            told["fields"] = list(self.fields)
        return told

    def within(self) -> Row:
        """Return the error as the answer to a collection says it."""
        return {"statusCode": self.code, "message": self.message, "fields": list(self.fields)}

    def line(self) -> str:
        """Return the error as the file of a bulk job says it."""
        return f"{self.code}:{self.message}:{','.join(self.fields)} --"


def malformed(what: str) -> Refused:
    """Return the refusal of a query that cannot be read."""
    return Refused(400, "MALFORMED_QUERY", what)


def missing() -> Refused:
    """Return the refusal of something that is not there."""
    return Refused(404, "NOT_FOUND", "The requested resource does not exist")
