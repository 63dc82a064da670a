"""The check of a connection: who we are there, the tables with what they become, and the rights that are missing."""

from collections.abc import Mapping

from isthmus.connectors.sql.doors import Door
from isthmus.connectors.sql.faults import Denied
from isthmus.connectors.sql.places import Where
from isthmus.connectors.sql.sheet import Sheet
from isthmus.connectors.sql.tables import Table
from isthmus.sync.connector import ConnectorError

_VERSIONS = {
    "postgresql": "select current_setting('server_version')",
    "mariadb": "select version()",
    "sqlite": "select sqlite_version()",
}
OTHERS_MAX = 20


async def checked(door: Door, place: Where, tables: Mapping[str, Table]) -> str:
    """Return who we are and each table; raises Missing, Denied and FeedTrouble with every fault."""
    [(version, *_)] = await door.rows(_VERSIONS[door.dialect.name])
    told: list[str] = []
    faults: list[ConnectorError] = []
    for name, table in tables.items():
        try:
            sheet = await Sheet.of(door, name, table)
            if table.write:
                await _writable(sheet)
        except ConnectorError as error:
            faults.append(error)
        else:
            way = "both ways" if table.write else "read"
            told.append(f"{name} → {table.type} ({way})")
    if faults:
        raise type(faults[0])(
            " ".join(each.detail for each in faults), fix=" ".join(dict.fromkeys(each.fix for each in faults))
        )
    others = [str(row[0]) for row in await door.rows(door.dialect.tables) if row[0] not in tables]
    shown = ", ".join(others[:OTHERS_MAX]) + (", …" if len(others) > OTHERS_MAX else "")
    who = f"{place.user} at " if place.user else ""
    mapped = ", ".join(told) or "no table is mapped"
    return f"{who}{place.words} ({door.dialect.title} {version}): {mapped}; not connected: {shown or 'none'}"


async def _writable(sheet: Sheet) -> None:
    """Raise Denied when a right is missing that writing needs."""
    table = sheet.table
    written = {way.column for way in table.ways.values() if way.direction != "in"}
    written |= {each for each in (table.mark, table.updated_at if table.stamp else None) if each}
    made = sorted(each for each in written if each in sheet.columns and sheet.columns[each].made)
    if made:
        raise Denied(
            f"{', '.join(made)} of {sheet.name} is made by the database itself.",
            fix='Give the field `direction = "in"`.',
        )
    shut = sorted(each for each in written if each not in sheet.columns or not sheet.columns[each].writable)
    deletable = sheet.columns[table.key].deletable and (bool(table.deleted) or await _deletes(sheet))
    if shut or not deletable:
        what = (
            f"{', '.join(shut)} of {sheet.name} may not be written" if shut else f"{sheet.name} may not be deleted from"
        )
        raise Denied(f"{what}.", fix=f"grant select, insert, update, delete on {sheet.name} to the user that connects.")


async def _deletes(sheet: Sheet) -> bool:
    if sheet.door.dialect.name != "mariadb":
        return True
    try:
        await sheet.door.rows(f"explain delete from {sheet.door.dialect.table(sheet.name)} where 1 = 0")  # noqa: S608 - the name is quoted.
    except Denied:
        return False
    return True
