"""What systems say of their fields: those made there are told by their names, and stand where rows hold them."""

from pathlib import Path
from random import Random

from isthmus.connectors.hubspot.client import session as hubspot
from isthmus.connectors.hubspot.fake import Fake as Portal
from isthmus.connectors.hubspot.fake_http import Site, serving
from isthmus.connectors.hubspot.shapes import CONTACTS, SHAPES
from isthmus.connectors.salesforce import CONNECTOR as SALESFORCE
from isthmus.connectors.salesforce.fake.server import Fake as Organisation
from isthmus.connectors.salesforce.fake.server import running
from isthmus.kernel.marks import Json
from isthmus.kernel.words import at_path
from isthmus.sync.connector import Described, Describing, Session
from tests.rooms.connectors import hubspot_room, salesforce_room
from tests.rooms.connectors.sql_room import opened
from tests.rooms.connectors.sql_servers import sqlite

TABLES = """
[people]
type = "sales.person"
key = "id"
ignored = []
[people.fields]
email = "email"
"""


async def told(session: Session, feed: str) -> tuple[dict[str, Described], dict[str, Json]]:
    """The fields by their places, and the first row of a feed."""
    assert isinstance(session, Describing)
    fields = {each.path: each for each in await session.fields(feed)}
    rows = [row async for page in session.read(feed, cursor=None) for row in page.rows]
    return fields, rows[0].body


async def test_salesforce_tells_the_fields_of_an_organisation() -> None:
    with running(Organisation()) as fake:
        salesforce_room.company(fake)
        async with SALESFORCE.open(salesforce_room.settings(fake)) as session:
            fields, row = await told(session, "accounts")
    own = [path for path, each in fields.items() if each.own]
    tier = next(path for path in own if path.endswith("Tier__c"))
    assert at_path(row, *tier.split(".")) == "Gold"
    assert (fields[tier].kind, bool(fields[tier].label)) == ("picklist", True)
    assert not fields["Name"].own


async def test_hubspot_tells_the_properties_of_an_account() -> None:
    with serving(Site()) as site:
        site.fake = hubspot_room.company(Portal())
        async with hubspot(hubspot_room.settings(site), feeds=list(SHAPES), dice=Random(3)) as session:
            fields, row = await told(session, CONTACTS)
    own = {path for path, each in fields.items() if each.own}
    assert "properties.favourite_tea" in own
    assert "properties.email" in fields.keys() - own
    assert at_path(row, "properties", "email") is not None


async def test_a_database_tells_its_columns_with_those_that_nothing_was_mapped_to(tmp_path: Path) -> None:
    with sqlite(tmp_path) as server:
        server.do("create table people (id varchar(9) primary key, email varchar(99), vip boolean)")
        server.do("insert into people values ('1', 'a@x.example', 1)")
        async with opened(server, TABLES) as session:
            fields, row = await told(session, "people")
    assert {path: each.own for path, each in fields.items()} == {"id": False, "email": False, "vip": True}
    assert fields.keys() == row.keys()
