"""Tables as declared and tables as migrated are the same."""

import psycopg
import pytest

from isthmus.app.discovery import schema
from isthmus.app.engines import Engines
from isthmus.app.migrations import missing
from isthmus.kernel.marks import RecordType
from isthmus.store.schema import create_table

COLUMNS = """
select table_name, column_name, data_type, udt_name, numeric_precision, numeric_scale, is_nullable,
       column_default from information_schema.columns
where table_schema = %s and table_name = any(%s) order by table_name, ordinal_position
"""
KEYS = """
select t.relname, pg_get_constraintdef(c.oid) from pg_constraint c join pg_class t on t.oid = c.conrelid
where t.relnamespace = %s::regnamespace and t.relname = any(%s) order by 1, 2
"""
INDEXES = """
select tablename, indexname, replace(indexdef, schemaname || '.', '') from pg_indexes
where schemaname = %s and tablename = any(%s)
"""
WALLS = """
select t.relname, t.relrowsecurity, p.policyname, p.cmd, p.roles, p.qual, p.with_check
from pg_class t left join pg_policies p on p.tablename = t.relname and p.schemaname = t.relnamespace::regnamespace::text
where t.relnamespace = %s::regnamespace and t.relname = any(%s) order by 1, 3
"""
GRANTS = """
select table_name, grantee, privilege_type from information_schema.role_table_grants
where table_schema = %s and table_name = any(%s) order by 1, 2, 3
"""
ROOM = """
select relname, reloptions from pg_class where relnamespace = %s::regnamespace and relname = any(%s) order by 1
"""


def _tables() -> list[str]:
    return [each.table for each in schema()]


@pytest.fixture
def both(engines: Engines) -> psycopg.Connection:
    """A connection to the migrated database, with a schema `declared` made from the declarations alone."""
    owner = engines.postgres.owner
    connection = psycopg.connect(owner.conninfo, password=owner.password)
    connection.execute("create schema declared")
    connection.execute("set local search_path = declared, public")
    for each in schema():
        connection.execute(create_table(each).encode())
    connection.execute("set local search_path = public")
    return connection


@pytest.mark.parametrize("question", [COLUMNS, KEYS, WALLS, GRANTS, ROOM])
def test_declared_and_migrated_tables_are_the_same(both: psycopg.Connection, question: str) -> None:
    with both as connection:
        migrated = connection.execute(question.encode(), ("public", _tables())).fetchall()
        declared = connection.execute(question.encode(), ("declared", _tables())).fetchall()
        connection.rollback()
    assert declared
    assert migrated == declared


def test_every_declared_index_is_there(both: psycopg.Connection) -> None:
    with both as connection:
        migrated = set(connection.execute(INDEXES.encode(), ("public", _tables())).fetchall())
        declared = set(connection.execute(INDEXES.encode(), ("declared", _tables())).fetchall())
        connection.rollback()
    assert declared
    assert declared <= migrated


def test_what_a_database_lacks_is_found_and_mended(engines: Engines) -> None:
    owner = engines.postgres.owner
    types: list[RecordType] = list(schema())
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        assert missing(connection, types).statements == ()
        connection.execute("drop table marketing_touch")
        connection.execute("alter table sales_lead drop column email_index, drop column score")
        connection.execute("alter table sales_deal alter column probability type text")
        found = missing(connection, types)
        assert len(found.statements) == 4
        assert found.differing == ("sales_deal.probability is text and declared as double precision",)
        for each in found.statements:
            connection.execute(each.encode())
        again = missing(connection, types)
        connection.rollback()
    assert again.statements == ()
