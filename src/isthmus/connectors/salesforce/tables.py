"""The tables of Salesforce that are feeds here: their names, what is read and written of each, and the order.

Fields: https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.connectors.salesforce.wire import CUSTOM, OWNER, STAMP

PAGE_ROWS_MAX = 2000
ACCOUNT, PERSON, LEAD, DEAL = "sales.account", "sales.person", "sales.lead", "sales.deal"
STAGE_CHANGE, ACTIVITY = "sales.stage_change", "sales.activity"
CAMPAIGN, MEMBER, TICKET = "marketing.campaign", "marketing.campaign_member", "success.ticket"
# What stands in a row of the history beside its fields: the stage before it, and what the stages are.
BEFORE, STAGES = "_before", "_stages"
_BASE = {"Id": "text", STAMP: "text"}
# What an organisation may not have, or not let our user see: such a field says nothing.
_TEXT, _NUMBER, _TRUTH = "text null absent", "number null absent", "truth absent"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table: `feed` is our name for it, `fields` what is read with its kind, `writes` what may be written.

    `plain` names, by ours, the field of theirs that holds the same. `owned` tables name their owner by id, which is
    read as an e-mail address. `money` tables hold amounts.
    """

    name: str
    feed: str
    type: str
    fields: Mapping[str, str]
    writes: tuple[str, ...] = ()
    plain: Mapping[str, str] = field(default_factory=dict[str, str])
    owned: bool = True
    money: bool = False
    extra: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def expects(self) -> dict[str, str]:
        """What a row holds."""
        found = {**_BASE, "IsDeleted": "truth absent", **self.fields, **self.extra, CUSTOM: "map absent"}
        if self.owned:
            found |= {OWNER: "map null absent"}
        if self.money:
            found |= {"CurrencyIsoCode": _TEXT}
        return found


def _texts(names: str, **others: str) -> dict[str, str]:
    known = dict.fromkeys(("CreatedDate", "LastModifiedDate", *names.split()), _TEXT)
    return known | others


def _paired(names: str) -> dict[str, str]:
    return dict(each.split("=") for each in names.split())


def _placed(prefix: str) -> dict[str, str]:
    ours = ("street", "postal_code", "city", "region", "country")
    return {name: f"{prefix}{theirs}" for name, theirs in zip(ours, _PLACE, strict=True)}


_PLACE = ("Street", "PostalCode", "City", "State", "Country")
TABLES = (
    Table(
        name="Account",
        feed="accounts",
        type=ACCOUNT,
        plain=_paired(
            "name=Name website=Website phone=Phone industry=Industry description=Description parent_id=ParentId "
            "employee_count=NumberOfEmployees annual_revenue=AnnualRevenue kind=Type"
        )
        | _placed("Billing"),
        money=True,
        fields=_texts(
            "Name Type ParentId Website Phone Industry Description MasterRecordId "
            + " ".join(f"Billing{each}" for each in _PLACE),
            NumberOfEmployees=_NUMBER,
            AnnualRevenue=_NUMBER,
        ),
        writes=(
            *("name", "kind", "parent_id", "website", "phone", "industry", "description", "employee_count"),
            *("annual_revenue", "street", "postal_code", "city", "region", "country", "owner_id", "custom"),
        ),
    ),
    Table(
        name="Contact",
        feed="contacts",
        type=PERSON,
        plain=_paired(
            "first_name=FirstName last_name=LastName email=Email phone=Phone title=Title department=Department "
            "notes=Description account_id=AccountId"
        )
        | _placed("Mailing"),
        fields=_texts(
            "FirstName LastName Email Phone MobilePhone Title Department AccountId Description MasterRecordId "
            + " ".join(f"Mailing{each}" for each in _PLACE)
        ),
        writes=(
            *("first_name", "last_name", "email", "phone", "title", "department", "account_id", "notes"),
            *("street", "postal_code", "city", "region", "country", "owner_id", "custom"),
        ),
    ),
    Table(
        name="Campaign",
        feed="campaigns",
        type=CAMPAIGN,
        plain=_paired(
            "name=Name kind=Type channel=Type status=Status starts_on=StartDate ends_on=EndDate budget=BudgetedCost "
            "description=Description parent_id=ParentId"
        ),
        money=True,
        fields=_texts("Name Type Status StartDate EndDate ParentId Description", BudgetedCost=_NUMBER, IsActive=_TRUTH),
        writes=("name", "status", "starts_on", "ends_on", "budget", "parent_id", "description", "owner_id", "custom"),
    ),
    Table(
        name="Opportunity",
        feed="opportunities",
        type=DEAL,
        plain=_paired(
            "name=Name stage=StageName amount=Amount probability=Probability close_date=CloseDate next_step=NextStep "
            "closed_at=LastStageChangeDate won=IsWon account_id=AccountId campaign_id=CampaignId"
        ),
        money=True,
        fields=_texts(
            "Name AccountId CampaignId StageName CloseDate NextStep LeadSource LastStageChangeDate",
            Amount=_NUMBER,
            Probability=_NUMBER,
            IsClosed=_TRUTH,
            IsWon=_TRUTH,
        ),
        writes=(
            "name",
            "stage",
            "amount",
            "close_date",
            "next_step",
            "account_id",
            "campaign_id",
            "owner_id",
            "custom",
        ),
    ),
    Table(
        name="OpportunityHistory",
        feed="opportunity_history",
        type=STAGE_CHANGE,
        plain=_paired("to_stage=StageName amount=Amount owner_id=CreatedBy deal_id=OpportunityId"),
        money=True,
        owned=False,
        fields=_texts("OpportunityId StageName", Amount=_NUMBER, Probability=_NUMBER),
        extra={"CreatedBy": "map null absent", BEFORE: _TEXT, STAGES: "map absent"},
    ),
    Table(
        name="Lead",
        feed="leads",
        type=LEAD,
        plain=_paired(
            "email=Email first_name=FirstName last_name=LastName company=Company phone=Phone title=Title "
            "country=Country message=Description region=State industry=Industry company_size=NumberOfEmployees "
            "status=Status source=LeadSource converted_at=ConvertedDate account_id=ConvertedAccountId "
            "person_id=ConvertedContactId deal_id=ConvertedOpportunityId"
        ),
        fields=_texts(
            "FirstName LastName Email Company Phone Title Description Country State Industry Status LeadSource "
            "ConvertedDate ConvertedAccountId ConvertedContactId ConvertedOpportunityId MasterRecordId",
            NumberOfEmployees=_NUMBER,
            IsConverted=_TRUTH,
        ),
        writes=(
            *("first_name", "last_name", "email", "company", "phone", "title", "message", "country", "region"),
            *("industry", "company_size", "status", "owner_id", "custom"),
        ),
    ),
    Table(
        name="CampaignMember",
        feed="campaign_members",
        type=MEMBER,
        plain=_paired("responded_at=FirstRespondedDate campaign_id=CampaignId person_id=ContactId lead_id=LeadId"),
        owned=False,
        fields=_texts("CampaignId ContactId LeadId Status FirstRespondedDate", HasResponded=_TRUTH),
    ),
    Table(
        name="Task",
        feed="tasks",
        type=ACTIVITY,
        plain=_paired(
            "due_at=ActivityDate completed=IsClosed outbound=CallType duration_s=CallDurationInSeconds subject=Subject "
            "body=Description outcome=CallDisposition person_id=WhoId lead_id=WhoId deal_id=WhatId"
        ),
        fields=_texts(
            "Subject Description Status Priority ActivityDate TaskSubtype Type CallDisposition CallType WhoId WhatId "
            "AccountId CompletedDateTime",
            IsClosed=_TRUTH,
            CallDurationInSeconds=_NUMBER,
        ),
    ),
    Table(
        name="Event",
        feed="events",
        type=ACTIVITY,
        plain=_paired(
            "at=StartDateTime duration_s=DurationInMinutes subject=Subject body=Description person_id=WhoId "
            "lead_id=WhoId deal_id=WhatId"
        ),
        fields=_texts(
            "Subject Description StartDateTime Type WhoId WhatId AccountId",
            DurationInMinutes=_NUMBER,
        ),
    ),
    Table(
        name="Case",
        feed="cases",
        type=TICKET,
        plain=_paired(
            "subject=Subject body=Description status=Status kind=Type priority=Priority escalated=IsEscalated "
            "channel=Origin solved_at=ClosedDate account_id=AccountId person_id=ContactId"
        ),
        fields=_texts(
            "CaseNumber Subject Description Status Priority Type Origin AccountId ContactId ClosedDate MasterRecordId",
            IsClosed=_TRUTH,
            IsEscalated=_TRUTH,
        ),
        writes=("subject", "body", "status", "priority", "account_id", "person_id", "owner_id", "custom"),
    ),
)
BY_FEED = {each.feed: each for each in TABLES}
ALL = ",".join(BY_FEED)
