"""What all record types of all domains have in common."""

import re

import msgspec
import pytest

from isthmus.domains import finance, marketing, product, sales, success
from isthmus.domains.sales.records import LEAD
from isthmus.kernel.marks import NOT_NEGATIVE, RecordType

DOMAINS = (sales.DOMAIN, marketing.DOMAIN, product.DOMAIN, success.DOMAIN, finance.DOMAIN)
TYPES = [record for domain in DOMAINS for record in domain.records]
SYSTEM_COLUMNS = {"id", "hlc", "version", "workspace", "tenant_id", "created_at", "updated_at", "deleted_at", "sealed"}
RESERVED_WORDS = {"limit", "order", "user", "group", "from", "to", "end", "when", "table", "column", "default", "desc"}

every_type = pytest.mark.parametrize("record", TYPES, ids=lambda record: record.name)


def test_names_and_prefixes_are_unique() -> None:
    assert len({record.name for record in TYPES}) == len(TYPES)
    assert len({record.prefix for record in TYPES}) == len(TYPES)


def test_a_domain_owns_only_types_of_its_name() -> None:
    assert all(record.domain == domain.name for domain in DOMAINS for record in domain.records)


@every_type
def test_references_lead_to_a_declared_type_and_may_be_unknown(record: RecordType) -> None:
    names = {each.name for each in TYPES}
    for field in record.fields:
        if field.to is not None:
            assert (field.to in names, field.column, field.required) == (True, "uuid", False)


@every_type
def test_every_type_takes_custom_fields_without_a_migration(record: RecordType) -> None:
    found = msgspec.convert({"custom": {"tier": "gold", "seats": 3, "beta": None}}, record.open_part)
    assert getattr(found, "custom") == {"tier": "gold", "seats": 3, "beta": None}  # noqa: B009 - the struct is built at run time.


@every_type
def test_no_field_takes_the_name_of_a_column_of_the_store_or_a_reserved_word(record: RecordType) -> None:
    assert not {field.name for field in record.fields} & (SYSTEM_COLUMNS | RESERVED_WORDS)


@every_type
def test_moments_without_a_time_zone_are_refused(record: RecordType) -> None:
    for field in record.fields:
        if field.column == "timestamptz":
            with pytest.raises(msgspec.ValidationError, match="timezone"):
                msgspec.convert({field.name: "2026-11-22T10:00:00"}, record.open_part)


@every_type
def test_money_is_critical_unless_it_only_describes(record: RecordType) -> None:
    describing = {"sales.account.annual_revenue", "sales.lead.expected_value", "sales.stage_change.amount"}
    describing |= {"marketing.touch.cost", "success.intervention.expected_value"}
    for field in record.fields:
        if field.column == "money":
            assert field.critical != (f"{record.name}.{field.name}" in describing)


def test_what_is_asked_or_spent_is_not_below_zero_while_credit_notes_and_refunds_may_be() -> None:
    signed = {(each.name, field.name) for each in TYPES for field in each.fields if field.column == "money"}
    signed -= {(each.name, field.name) for each in TYPES for field in each.fields if NOT_NEGATIVE in field.marks}
    invoice = {("finance.invoice", name) for name in ("amount", "paid", "tax")}
    informal = {("sales.stage_change", "amount"), ("success.intervention", "expected_value")}
    assert signed == invoice | informal | {("finance.payment", "amount")}


def test_whatever_holds_words_about_a_human_is_sealed() -> None:
    humans = re.compile(r"^(email|first_name|last_name|title|subject|body|message|notes|profile_url)$")
    for record in TYPES:
        assert all(field.personal for field in record.fields if humans.match(field.name)), record.name


@pytest.mark.parametrize("email", ["ada", "ada@", "@x.example", "a b@x.example", "ada@example", "a@b@x.example", ""])
def test_a_lead_with_a_wrong_email_is_refused(email: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"email": email}, LEAD.personal_part)


def test_a_lead_needs_an_email_a_first_name_and_a_company() -> None:
    assert [field.name for field in LEAD.fields if field.required] == ["email", "first_name", "company"]
