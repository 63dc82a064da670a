"""Every column of every table has a class in columns.json; a column without one fails here.

sealed     ciphertext under a key of the vault: what tells of a person, what opens something
digest     one way: digests of secrets, keyed indexes of handles, hashed passwords
public     keys and challenges that everybody may know
who        the pseudonymous id of whoever acted or is meant; no name and no address
trace      networks, agents and habits of callers, kept for security and as long as its retention says
words      free words of a workspace's own people, about its set-up and its operation
key        ids, and references to them
time       moments
operation  states, numbers and set-up

Tables of records are declared by their fields; what is personal there is sealed, and has no column of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
import pytest

from isthmus.app.discovery import schema
from isthmus.app.engines import Engines

FILE = Path(__file__).with_name("columns.json")
CLASSES = frozenset({"sealed", "digest", "public", "who", "trace", "words", "key", "time", "operation"})
SECRETS = ("password", "secret", "token", "digest", "private", "totp", "email", "phone", "address")
COLUMNS = """
select c.table_name, c.column_name, c.data_type from information_schema.columns c
join information_schema.tables t using (table_schema, table_name)
where t.table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
"""
Classified = Mapping[str, Mapping[str, Sequence[str]]]


@pytest.fixture(scope="module")
def kinds(engines: Engines) -> Mapping[tuple[str, str], str]:
    """The type of each column that no record declares."""
    owner = engines.postgres.owner
    records = {each.table for each in schema()}
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        rows = connection.execute(COLUMNS).fetchall()
    return {(str(table), str(column)): str(kind) for table, column, kind in rows if table not in records}


def classes() -> dict[tuple[str, str], str]:
    """Return the class of each column, as it is declared."""
    told: Classified = json.loads(FILE.read_text("utf-8"))
    found: dict[tuple[str, str], str] = {}
    for table, by_class in told.items():
        for name, columns in by_class.items():
            for column in columns:
                assert (table, column) not in found, f"{table}.{column} has two classes"
                found[table, column] = name
    return found


def test_every_column_has_a_class_and_every_class_a_column(kinds: Mapping[tuple[str, str], str]) -> None:
    told = classes()
    assert sorted(kinds.keys() - told.keys()) == [], f"say in {FILE.name} what these columns hold"
    assert sorted(told.keys() - kinds.keys()) == [], f"these columns are gone; take them out of {FILE.name}"
    assert set(told.values()) == CLASSES


def test_bytes_are_sealed_or_one_way_or_public(kinds: Mapping[tuple[str, str], str]) -> None:
    told = classes()
    assert [column for column, kind in kinds.items() if kind == "bytea" and told[column] not in BYTES] == []


def test_what_is_sealed_is_kept_as_bytes(kinds: Mapping[tuple[str, str], str]) -> None:
    assert [column for column, name in classes().items() if name == "sealed" and kinds[column] != "bytea"] == []


def test_no_column_that_is_named_after_a_secret_or_a_handle_is_readable(kinds: Mapping[tuple[str, str], str]) -> None:
    told = classes()
    named = {column for column in kinds if any(word in column[1].split("_") for word in SECRETS)}
    assert {column for column in named if told[column] not in {"sealed", "digest"}} == READABLE


BYTES = frozenset({"sealed", "digest", "public"})
READABLE = {
    ("oauth_revoked", "token"),
    ("oauth_grant", "from_token"),
    ("person_login", "password_long"),
    ("person_login", "totp_step"),
    ("saml_provider", "email_attribute"),
}
"""Ids of tokens, a length, the number of a step of time, the name of an attribute: none opens or tells anything."""
