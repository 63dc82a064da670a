"""The tables of the fake organisation, field by field, as `describe` tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.connectors.salesforce.wire import Row
from isthmus.kernel.marks import Json

KEY_FIELD = "Isthmus_Key__c"
STAGES: Mapping[str, tuple[float, bool, bool]] = {
    "Prospecting": (10, False, False),
    "Qualification": (10, False, False),
    "Needs Analysis": (20, False, False),
    "Value Proposition": (50, False, False),
    "Legal Check": (80, False, False),
    "Proposal/Price Quote": (75, False, False),
    "Negotiation/Review": (90, False, False),
    "Closed Won": (100, True, True),
    "Closed Lost": (0, True, False),
}  # by name: probability in percent, whether it is an end, whether it is won
_TYPES = {"id": "tns:ID", "double": "xsd:double", "boolean": "xsd:boolean", "int": "xsd:int"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field. `to` are the tables that a reference leads to; `restricted` lists take no other words."""

    name: str
    kind: str = "string"
    length: int = 255
    needed: bool = False
    creatable: bool = True
    changeable: bool = True
    words: tuple[str, ...] = ()
    restricted: bool = False
    to: tuple[str, ...] = ()
    external: bool = False
    default: Json = None

    @property
    def relation(self) -> str | None:
        """The name by which queries follow a reference."""
        return self.name.removesuffix("Id") if self.to and self.name.endswith("Id") else None

    @property
    def filterable(self) -> bool:
        """Long texts cannot be searched."""
        return self.kind != "textarea"

    def told(self) -> Row:
        """Return it as `describe` does."""
        listed: Json = [
            {"active": True, "defaultValue": False, "label": each, "validFor": None, "value": each}
            for each in self.words
        ]
        return {
            "name": self.name,
            "label": self.name,
            "type": self.kind,
            "soapType": _TYPES.get(self.kind, "xsd:string"),
            "length": self.length if self.kind in ("string", "textarea", "email", "phone", "url", "picklist") else 0,
            "nillable": not self.needed,
            "createable": self.creatable,
            "updateable": self.changeable,
            "filterable": self.filterable,
            "calculated": not self.creatable and self.name.endswith("__c"),
            "custom": self.name.endswith("__c"),
            "externalId": self.external,
            "unique": self.external,
            "idLookup": self.external or self.name == "Id",
            "picklistValues": listed,
            "restrictedPicklist": self.restricted,
            "referenceTo": list(self.to),
            "relationshipName": self.relation,
        }


def _system(name: str, kind: str = "string", to: tuple[str, ...] = ()) -> Field:
    return Field(name=name, kind=kind, creatable=False, changeable=False, to=to)


def _each(kind: str, names: str, *, length: int = 255) -> list[Field]:
    return [Field(name=name, kind=kind, length=length) for name in names.split()]


def _list(name: str, *words: str, default: str | None = None) -> Field:
    return Field(name=name, kind="picklist", words=words, default=default)


def _to(name: str, *tables: str, needed: bool = False, changeable: bool = True) -> Field:
    return Field(name=name, kind="reference", to=tables, needed=needed, changeable=changeable)


_SYSTEM = [
    Field(name="Id", kind="id", length=18, creatable=False, changeable=False),
    _system("IsDeleted", "boolean"),
    *(_system(name, "datetime") for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp")),
    *(_system(name, "reference", ("User",)) for name in ("CreatedById", "LastModifiedById")),
]
_OWNER = [_to("OwnerId", "User")]
_MONEY = [Field(name="CurrencyIsoCode", kind="picklist", words=("EUR", "USD", "GBP"), restricted=True, default="EUR")]
_KEY = [Field(name=KEY_FIELD, external=True)]
_MERGED = [_system("MasterRecordId", "reference")]
_PLACES = "Street PostalCode City State Country"


def _placed(prefix: str) -> list[Field]:
    return _each("string", " ".join(f"{prefix}{each}" for each in _PLACES.split()), length=80)


@dataclass(frozen=True)
class Schema:
    """A table: the first three characters of its ids, its fields, and what is deleted with its records."""

    name: str
    prefix: str
    fields: Mapping[str, Field]
    takes_with: tuple[tuple[str, str], ...] = ()
    writable: bool = True


def _table(
    name: str, prefix: str, *fields: Field, takes_with: tuple[tuple[str, str], ...] = (), writable: bool = True
) -> Schema:
    return Schema(name, prefix, {each.name: each for each in [*_SYSTEM, *fields]}, takes_with, writable)


def _name(name: str, *, length: int, needed: bool = False) -> Field:
    return Field(name=name, length=length, needed=needed)


@dataclass
class Organisation:
    """What kind of organisation it is: `currencies` tells whether it has several."""

    currencies: bool = True
    tables: dict[str, Schema] = field(default_factory=dict[str, Schema])

    def __post_init__(self) -> None:
        """Make the tables."""
        money = _MONEY if self.currencies else []
        for each in (*_people(money), *_selling(money), *_doing(money), *_helping()):
            self.tables[each.name] = each


def _people(money: list[Field]) -> tuple[Schema, ...]:
    return (
        _table(
            "Account",
            "001",
            _name("Name", length=255, needed=True),
            _list("Type", "Prospect", "Customer - Direct", "Channel Partner / Reseller", "Other"),
            _list("Industry", "Software", "Manufacturing"),
            *_each("url", "Website"),
            *_each("phone", "Phone", length=40),
            *_each("textarea", "Description", length=32_000),
            *_each("int", "NumberOfEmployees"),
            *_each("currency", "AnnualRevenue"),
            *_placed("Billing"),
            _to("ParentId", "Account"),
            Field(name="Tier__c", kind="picklist", words=("Gold", "Silver"), restricted=True),
            Field(name="Seats__c", kind="double", creatable=False, changeable=False),
            *(*_OWNER, *money, *_KEY, *_MERGED),
            takes_with=(("Contact", "AccountId"), ("Opportunity", "AccountId"), ("Case", "AccountId")),
        ),
        _table(
            "Contact",
            "003",
            *(_name("FirstName", length=40), _name("LastName", length=80, needed=True)),
            *_each("email", "Email", length=80),
            *_each("phone", "Phone MobilePhone", length=40),
            *_each("string", "Title Department", length=128),
            *_each("textarea", "Description", length=32_000),
            *_placed("Mailing"),
            _to("AccountId", "Account"),
            Field(name="Newsletter__c", kind="boolean", default=False),
            Field(name="Score__c", kind="double"),
            Field(name="Since__c", kind="datetime"),
            *(*_OWNER, *_KEY, *_MERGED),
        ),
        _table(
            "Lead",
            "00Q",
            *(_name("FirstName", length=40), _name("LastName", length=80, needed=True)),
            _name("Company", length=255, needed=True),
            *_each("email", "Email", length=80),
            *_each("phone", "Phone", length=40),
            *_each("string", "Title Country State", length=128),
            *_each("textarea", "Description", length=32_000),
            *_each("int", "NumberOfEmployees"),
            _list("Industry", "Software", "Manufacturing"),
            _list("LeadSource", "Web", "Webinar", "Purchased List", "Other"),
            _list(
                "Status",
                *("Open - Not Contacted", "Working - Contacted", "Qualified", "Closed - Not Converted"),
                default="Open - Not Contacted",
            ),
            *(_system("IsConverted", "boolean"), _system("ConvertedDate", "date")),
            *(_system(f"Converted{each}Id", "reference", (each,)) for each in ("Account", "Contact", "Opportunity")),
            *(*_OWNER, *_KEY, *_MERGED),
        ),
    )


def _selling(money: list[Field]) -> tuple[Schema, ...]:
    return (
        _table(
            "Opportunity",
            "006",
            _name("Name", length=120, needed=True),
            Field(name="StageName", kind="picklist", words=tuple(STAGES), needed=True),
            Field(name="CloseDate", kind="date", needed=True),
            *_each("currency", "Amount"),
            *_each("percent", "Probability"),
            *_each("string", "NextStep"),
            _list("LeadSource", "Web", "Webinar", "Purchased List", "Other"),
            *(_to("AccountId", "Account"), _to("CampaignId", "Campaign")),
            *(_system("IsClosed", "boolean"), _system("IsWon", "boolean"), _system("LastStageChangeDate", "datetime")),
            *(*_OWNER, *money, *_KEY),
            takes_with=(("OpportunityHistory", "OpportunityId"),),
        ),
        _table(
            "OpportunityHistory",
            "008",
            *(_to("OpportunityId", "Opportunity"), *_each("string", "StageName")),
            *_each("currency", "Amount"),
            *_each("percent", "Probability"),
            *_each("date", "CloseDate"),
            *money,
            writable=False,
        ),
    )


def _doing(money: list[Field]) -> tuple[Schema, ...]:
    return (
        _table(
            "Campaign",
            "701",
            _name("Name", length=80, needed=True),
            _list("Type", "Conference", "Webinar", "Trade Show", "Email", "Advertisement", "Other"),
            _list("Status", "Planned", "In Progress", "Completed", "Aborted", default="Planned"),
            *(*_each("date", "StartDate EndDate"), *_each("currency", "BudgetedCost")),
            Field(name="IsActive", kind="boolean", default=False),
            *_each("textarea", "Description", length=32_000),
            _to("ParentId", "Campaign"),
            *(*_OWNER, *money, *_KEY),
            takes_with=(("CampaignMember", "CampaignId"),),
        ),
        _table(
            "CampaignMember",
            "00v",
            _to("CampaignId", "Campaign", needed=True, changeable=False),
            *(_to("ContactId", "Contact", changeable=False), _to("LeadId", "Lead", changeable=False)),
            _list("Status", "Sent", "Responded", default="Sent"),
            *(_system("HasResponded", "boolean"), _system("FirstRespondedDate", "date")),
        ),
        _table(
            "Task",
            "00T",
            *_each("string", "Subject CallDisposition"),
            *_each("textarea", "Description", length=32_000),
            _list("Status", "Not Started", "In Progress", "Completed", default="Not Started"),
            _list("Priority", "High", "Normal", "Low", default="Normal"),
            *(_list("TaskSubtype", "Task", "Call", "Email", default="Task"), _list("Type", "Call", "Email", "Other")),
            _list("CallType", "Inbound", "Outbound", "Internal"),
            *(*_each("date", "ActivityDate"), *_each("int", "CallDurationInSeconds")),
            *(_to("WhoId", "Contact", "Lead"), _to("WhatId", "Account", "Opportunity", "Campaign", "Case")),
            *(_system("AccountId", "reference", ("Account",)), _system("IsClosed", "boolean")),
            *(_system("CompletedDateTime", "datetime"), *_OWNER),
        ),
        _table(
            "Event",
            "00U",
            *(*_each("string", "Subject"), *_each("textarea", "Description", length=32_000)),
            *(_list("Type", "Call", "Meeting", "Other"), Field(name="StartDateTime", kind="datetime", needed=True)),
            Field(name="DurationInMinutes", kind="int", needed=True),
            *(_to("WhoId", "Contact", "Lead"), _to("WhatId", "Account", "Opportunity", "Campaign", "Case")),
            *(_system("AccountId", "reference", ("Account",)), *_OWNER),
        ),
    )


def _helping() -> tuple[Schema, ...]:
    return (
        _table(
            "Case",
            "500",
            *(_system("CaseNumber"), *_each("string", "Subject"), *_each("textarea", "Description", length=32_000)),
            _list("Status", "New", "Working", "Escalated", "On Hold", "Closed", default="New"),
            _list("Priority", "High", "Medium", "Low", default="Medium"),
            *(_list("Type", "Question", "Problem", "Other"), _list("Origin", "Phone", "Email", "Web")),
            *(_to("AccountId", "Account"), _to("ContactId", "Contact")),
            *(_system("IsClosed", "boolean"), _system("ClosedDate", "datetime")),
            Field(name="IsEscalated", kind="boolean", default=False),
            *(*_OWNER, *_KEY),
        ),
        _table(
            "User",
            "005",
            *_each("string", "Name Username"),
            *(*_each("email", "Email"), Field(name="IsActive", kind="boolean", default=True)),
            writable=False,
        ),
        _table(
            "OpportunityStage",
            "01J",
            *_each("string", "ApiName MasterLabel"),
            *(Field(name=name, kind="boolean", default=False) for name in ("IsActive", "IsClosed", "IsWon")),
            *(*_each("percent", "DefaultProbability"), *_each("int", "SortOrder")),
            writable=False,
        ),
    )
