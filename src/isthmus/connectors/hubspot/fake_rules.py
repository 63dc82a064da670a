"""What the fake of HubSpot knows of properties, and how it refuses: its sentences, categories and limits.

Written from what HubSpot documents of errors (https://developers.hubspot.com/docs/api-reference/error-handling), usage
(https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines) and properties.
"""

import json
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from isthmus.connectors.hubspot.shapes import CONTACTS, DEALS, SHAPES, TICKETS
from isthmus.kernel.marks import Json

Row = dict[str, Json]
CORRELATION = "aeb5f871-7f07-4993-9211-075dc63e7cbf"
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]{2,}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_STAGES = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer")
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "lifecyclestage": (*_STAGES, "evangelist", "other"),
    "hs_lead_status": ("NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED"),
    "hs_ticket_priority": ("LOW", "MEDIUM", "HIGH", "URGENT"),
    "hs_task_status": ("NOT_STARTED", "IN_PROGRESS", "COMPLETED", "WAITING", "DEFERRED"),
}
_NUMBERS = ("amount", "annualrevenue", "numberofemployees", "hs_call_duration", "hubspot_owner_id")
_READ_ONLY = (
    *("hs_object_id", "createdate", "lastmodifieddate", "hs_lastmodifieddate", "hs_merged_object_ids"),
    *("hs_deal_stage_probability", "hs_email_optout", "hs_lifecyclestage_lead_date", "hs_createdate"),
)
UNIQUE = {"isthmus_key"}


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: Row) -> None:
        """`body` is what HubSpot says."""
        self.status, self.body = status, body
        super().__init__(str(body.get("message")))


def refused(status: int, category: str, message: str, **more: Json) -> Refused:
    """Return a refusal in HubSpot's words."""
    return Refused(
        status,
        {"status": "error", "message": message, "correlationId": CORRELATION, "category": category, **more},
    )


@dataclass
class Definitions:
    """The properties of each object: HubSpot's own, and those of the account, by name."""

    custom: dict[str, dict[str, Row]] = field(default_factory=dict[str, dict[str, Row]])

    def of(self, kind: str) -> list[Row]:
        """Return the definitions of an object."""
        shape = SHAPES[kind]
        own = [_definition(name, hubspot=True) for name in dict.fromkeys((*shape.properties, shape.by, "hs_object_id"))]
        return own + list(self.custom.get(kind, {}).values())

    def add(self, kind: str, name: str, *, unique: bool = False, options: Sequence[str] = ()) -> None:
        """Define a property of the account's own."""
        definition = _definition(name, hubspot=False) | {"hasUniqueValue": unique}
        definition |= {"options": [{"label": each, "value": each} for each in options]}
        definition |= {"type": "enumeration"} if options else {}
        self.custom.setdefault(kind, {})[name] = definition

    def names(self, kind: str) -> set[str]:
        """Return the names of all properties of an object."""
        return {str(each["name"]) for each in self.of(kind)}

    def unique(self, kind: str) -> set[str]:
        """Return the names of the properties of which each value is held once."""
        own = {name for name, each in self.custom.get(kind, {}).items() if each["hasUniqueValue"] is True}
        return own | ({"email"} if kind == CONTACTS else set())

    def hold(self, kind: str, given: Mapping[str, str]) -> None:
        """Raise Refused where a value is none that its property takes."""
        known = {str(each["name"]): each for each in self.of(kind)}
        faults = [fault for name, value in given.items() if (fault := _fault(name, value, known.get(name)))]
        if faults:
            message = f"Property values were not valid: {json.dumps(faults)}"
            raise refused(400, "VALIDATION_ERROR", message)


def _definition(name: str, *, hubspot: bool) -> Row:
    kind = "number" if name in _NUMBERS else "enumeration" if name in _OPTIONS else "string"
    return {
        "name": name,
        "label": name.replace("_", " ").title(),
        "type": kind,
        "fieldType": {"number": "number", "enumeration": "select"}.get(kind, "text"),
        "groupName": "information",
        "description": "",
        "options": [{"label": each.title(), "value": each} for each in _OPTIONS.get(name, ())],
        "hubspotDefined": hubspot,
        "hasUniqueValue": False,
        "calculated": False,
        "hidden": False,
        "formField": True,
        "modificationMetadata": {"readOnlyValue": name in _READ_ONLY, "readOnlyDefinition": hubspot},
    }


def _fault(name: str, value: str, definition: Row | None) -> Row | None:
    """Return what is wrong with a value; nothing for one that is right, or that clears."""
    if definition is None:
        return _told(name, "PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist')
    if cast("Row", definition["modificationMetadata"])["readOnlyValue"] is True:
        return _told(name, "READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.')
    return _unfit(name, value, definition) if value else None


def _unfit(name: str, value: str, definition: Row) -> Row | None:
    options = [cast("Row", each)["value"] for each in cast("list[Json]", definition["options"])]
    if options and value not in options:
        return _told(name, "INVALID_OPTION", f"{value} was not one of the allowed options: {options}")
    if definition["type"] == "number" and not _NUMBER.fullmatch(value):
        return _told(name, "INVALID_INTEGER", f"{value} was not a valid number.")
    if name == "email" and not _EMAIL.fullmatch(value):
        return _told(name, "INVALID_EMAIL", f"Email address {value} is invalid")
    return None


def _told(name: str, error: str, message: str) -> Row:
    return {"isValid": False, "message": message, "error": error, "name": name, "localizedErrorMessage": message}


@dataclass
class Limits:
    """How many requests are taken: in ten seconds, and of searches in one. Times are seconds of any clock."""

    burst: int = 100
    searches: int = 5
    _asked: deque[float] = field(default_factory=deque[float])
    _searched: deque[float] = field(default_factory=deque[float])

    def take(self, *, search: bool, at: float) -> dict[str, str]:
        """Return the headers that tell of the limit; raises Refused over it. Answers to searches tell of none."""
        if search:
            _hold(self._searched, at, count=self.searches, seconds=1.0, policy="SECONDLY")
        _hold(self._asked, at, count=self.burst, seconds=10.0, policy="TEN_SECONDLY_ROLLING")
        if search:
            return {}
        return {
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Max": str(self.burst),
            "X-HubSpot-RateLimit-Remaining": str(self.burst - len(self._asked)),
        }


def _hold(asked: deque[float], at: float, *, count: int, seconds: float, policy: str) -> None:
    while asked and asked[0] <= at - seconds:
        asked.popleft()
    if len(asked) >= count:
        message = "You have reached your secondly limit."
        if policy != "SECONDLY":
            message = "You have reached your ten_secondly_rolling limit."
        raise Refused(
            429,
            {
                "status": "error",
                "message": message,
                "errorType": "RATE_LIMIT",
                "correlationId": CORRELATION,
                "policyName": policy,
                "requestId": CORRELATION,
            },
        )
    asked.append(at)


def pipelines(kind: str) -> list[Row]:
    """Return the pipeline that every account has, as it is at first; none for other objects."""
    stages: dict[str, list[tuple[str, str, Row]]] = {
        DEALS: [
            ("appointmentscheduled", "Appointment Scheduled", {"isClosed": "false", "probability": "0.2"}),
            ("qualifiedtobuy", "Qualified To Buy", {"isClosed": "false", "probability": "0.4"}),
            ("presentationscheduled", "Presentation Scheduled", {"isClosed": "false", "probability": "0.6"}),
            ("decisionmakerboughtin", "Decision Maker Bought-In", {"isClosed": "false", "probability": "0.8"}),
            ("contractsent", "Contract Sent", {"isClosed": "false", "probability": "0.9"}),
            ("closedwon", "Closed Won", {"isClosed": "true", "probability": "1.0"}),
            ("closedlost", "Closed Lost", {"isClosed": "true", "probability": "0.0"}),
        ],
        TICKETS: [
            ("1", "New", {"ticketState": "OPEN", "isClosed": "false"}),
            ("2", "Waiting on contact", {"ticketState": "OPEN", "isClosed": "false"}),
            ("3", "Waiting on us", {"ticketState": "OPEN", "isClosed": "false"}),
            ("4", "Closed", {"ticketState": "CLOSED", "isClosed": "true"}),
        ],
    }
    if kind not in stages:
        return []
    at = "2026-01-05T09:00:00Z"
    listed: list[Json] = [
        {
            "id": of,
            "label": label,
            "displayOrder": place,
            "metadata": metadata,
            "createdAt": at,
            "updatedAt": at,
            "archived": False,
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        }
        for place, (of, label, metadata) in enumerate(stages[kind])
    ]
    own = {DEALS: ("default", "Sales Pipeline"), TICKETS: ("0", "Support Pipeline")}[kind]
    return [
        {
            "id": own[0],
            "label": own[1],
            "displayOrder": 0,
            "stages": listed,
            "createdAt": at,
            "updatedAt": at,
            "archived": False,
        }
    ]
