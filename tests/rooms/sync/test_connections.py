"""Connections: settings are checked, secrets are sealed, names are systems."""

import pytest

from isthmus.sync.connections import (
    ConnectionMissing,
    NameTaken,
    Options,
    SettingsRefused,
    all_settings,
    change_connection,
    connect,
    connection_of,
    connections,
    remove,
)
from isthmus.sync.running import UnknownConnector, synchronise
from tests.rooms.sync.conftest import Bench
from tests.rooms.sync.vendor import Vendor


async def test_a_secret_is_sealed_and_opened_only_for_the_session(bench: Bench, crm: Vendor) -> None:
    connection = await bench.connect(crm)
    assert connection.settings == {"url": "memory:"}
    ((row, envelope),) = await bench.rows("select c::text, secrets from connection c")
    assert isinstance(row, str)
    assert isinstance(envelope, bytes)
    assert "s3cr3t" not in row
    assert b"s3cr3t" not in envelope
    opened = await bench.read(lambda tx: all_settings(tx, bench.store.vault, connection))
    assert opened == {"url": "memory:", "token": "s3cr3t"}


async def test_what_is_removed_takes_its_secrets_along_and_frees_its_name(bench: Bench, crm: Vendor) -> None:
    connection = await bench.connect(crm)
    await bench.read(lambda tx: remove(tx, bench.store.vault, connection))
    assert not bench.store.vault.holding(workspace=bench.workspace, subjects=[connection.id])
    assert await bench.rows("select secrets from connection") == [(None,)]
    with pytest.raises(ConnectionMissing):
        await bench.connection("crm")
    again = await bench.connect(crm)
    assert [each.id for each in await bench.read(connections)] == [again.id]


async def test_every_fault_of_the_settings_is_told_at_once(bench: Bench, crm: Vendor) -> None:
    with pytest.raises(SettingsRefused) as error:
        await bench.read(
            lambda tx: connect(
                tx, bench.store.vault, crm.connector(), name="isthmus", settings={"tokn": "x", "url": "there"}
            )
        )
    assert [each.pointer for each in error.value.faults] == ["/name", "/settings/tokn", "/settings/token"]
    assert await bench.read(connections) == []


async def test_a_name_is_used_once(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    with pytest.raises(NameTaken, match="named 'crm'"):
        await bench.connect(crm)


async def test_settings_and_options_are_changed_one_by_one(bench: Bench, crm: Vendor) -> None:
    connection = await bench.connect(crm)
    vault, connector = bench.store.vault, crm.connector()
    await bench.read(lambda tx: change_connection(tx, vault, connector, connection, settings={"token": "n3w"}))
    options = Options(push=False, create=("sales.deal",))
    changed = await bench.read(
        lambda tx: change_connection(tx, vault, connector, connection, options=options, every_s=300)
    )
    assert (changed.options, changed.every_s, changed.settings) == (options, 300, {"url": "memory:"})
    opened = await bench.read(lambda tx: all_settings(tx, vault, changed))
    assert opened["token"] == "n3w"
    assert await bench.read(lambda tx: connection_of(tx, connection.id)) == changed


async def test_a_connection_whose_connector_is_gone_says_so(bench: Bench, crm: Vendor) -> None:
    await bench.connect(crm)
    bench.forget("crm")
    with pytest.raises(UnknownConnector, match="There are: erp"):
        await synchronise(bench.engine, workspace=bench.workspace, connection="crm")
