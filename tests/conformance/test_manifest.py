"""What a connector says of itself, and what lies in its folder."""

import ast
from pathlib import Path

import isthmus.connectors
from isthmus.app.discovery import schema
from isthmus.sync.conformance import CHECKS
from isthmus.sync.connector import Connector
from isthmus.sync.rest.connector import describe

HERE = Path(__file__).parent


def folder(connector: Connector) -> Path:
    """Return where a connector lies."""
    found = [
        Path(each) / connector.name for each in isthmus.connectors.__path__ if (Path(each) / connector.name).is_dir()
    ]
    return found[0]


def page_of_words(connector: Connector) -> str:
    return (folder(connector) / "README.md").read_text("utf-8")


def test_every_check_has_a_test_and_every_test_is_a_check() -> None:
    tests = {
        node.name.removeprefix("test_")
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and {each.arg for each in node.args.args} & {"connector", "side", "bench", "facing"}
        and node.name.startswith("test_")
    }
    assert tests == set(CHECKS)
    assert len(CHECKS) >= 40


def test_manifest_is_complete(connector: Connector) -> None:
    described = connector.begin.__module__ == describe.__module__
    assert described != (folder(connector) / "client.py").is_file(), "one client: its own, or that of the description"
    assert connector.feeds
    for words in (connector.title, connector.about, connector.proven):
        assert words.strip()
    assert connector.about.endswith(".")
    assert connector.proven.endswith(".")


def test_feeds_name_known_types(connector: Connector) -> None:
    known = schema().types
    names = [feed.name for feed in connector.feeds]
    assert len(set(names)) == len(names)
    for feed in connector.feeds:
        assert feed.types
        assert set(feed.types) <= known.keys()
        assert set(feed.writes) <= set(feed.types)
        assert feed.page_rows_max > 0


def test_writable_fields_exist(connector: Connector) -> None:
    written = {name for feed in connector.feeds for name in feed.writes}
    assert connector.writable.keys() <= written
    for name, fields in connector.writable.items():
        assert [field for field in fields if schema().types[name].field(field) is None] == []
    for name, groups in connector.together.items():
        assert all(schema().types[name].field(field) for group in groups for field in group)


def test_settings_are_described(connector: Connector) -> None:
    words = page_of_words(connector)
    assert len({each.name for each in connector.settings}) == len(connector.settings)
    for setting in connector.settings:
        assert f"`{setting.name}`" in words
        assert setting.about
        assert not (setting.secret and setting.default), "a secret has no default"


def test_allowances_are_declared(connector: Connector) -> None:
    assert connector.allowances
    assert all(rate.count > 0 and rate.seconds > 0 for rate in connector.allowances)


def test_lacks_have_reasons(connector: Connector) -> None:
    assert connector.cannot.keys() <= CHECKS.keys()
    for reason in connector.cannot.values():
        assert reason.endswith(".")
        assert len(reason.split()) >= 5, "a reason is a sentence"


def test_fixtures_are_there(connector: Connector) -> None:
    assert list((folder(connector) / "fixtures").glob("*.json"))
    assert (folder(connector) / f"test_{connector.name}.py").is_file()
