"""Names carry the house: engines know no business, and no name says nothing."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.house.conftest import Plant
from tests.house.sources import HOUSE, Finding, Source, read, report, words

ENGINES_AND_GROUND = frozenset(
    {"gateway", "sync", "analytics", "auth", "matching", "privacy", "stream", "audit", "store", "vault", "kernel"}
)
DOMAIN_NOUNS = frozenset(
    {
        *("campaign", "touch", "touchpoint", "marketing", "spend", "budget"),
        *("lead", "deal", "opportunity", "prospect", "sales", "upsell", "churn", "customer"),
        *("invoice", "payment", "finance", "ticket", "feedback", "intervention"),
    }
)
PLURALS = frozenset({f"{noun}s" for noun in DOMAIN_NOUNS} | {"touches", "opportunities"})
SQL_OPENS = re.compile(r"\s*(select|insert|update|delete|with|create|alter|drop|copy|merge)\b", re.IGNORECASE)
EMPTY_WORDS = frozenset({"manager", "helper", "helpers", "util", "utils", "data", "info", "process", "object"})
FOREIGN_NAMES = frozenset({"data_received", "get_extra_info"})  # asyncio calls them by these names


def domain_nouns(source: Source) -> Iterator[Finding]:
    """Engines serve five domains alike, so they must not learn the words of one.

    The first credit rule written in an engine called its bucket `campaign`. It worked, and nothing else could use it:
    success wanted the same arithmetic over playbooks. A noun in an engine is a domain's meaning in the wrong room.
    Looked at: file names, identifiers, attributes, arguments, and strings that are names or SQL. Prose is free.
    """
    if source.room not in ENGINES_AND_GROUND or source.is_test:
        return
    for line, name in [(1, source.path.stem), *_names(source.tree)]:
        for noun in sorted(words(name) & (DOMAIN_NOUNS | PLURALS)):
            sentence = f"{name!r} says {noun!r}, and {source.room} knows no domain: name what it does, or move it up."
            yield Finding(source.path, line, sentence)


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    files = {id(call.func) for call in ast.walk(tree) if isinstance(call, ast.Call) and _touches_a_file(call)}
    for node in ast.walk(tree):
        if id(node) in files:
            continue
        match node:
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.keyword(arg=str(name)):
                yield node.lineno, name
            case ast.alias(name=name, asname=other):
                yield node.lineno, other or name
            case ast.Constant(value=str(text)) if not any(c.isspace() for c in text) or SQL_OPENS.match(text):
                yield node.lineno, text if len(text) <= 60 else " ".join(sorted(words(text) & (DOMAIN_NOUNS | PLURALS)))
            case _:
                pass


def _touches_a_file(call: ast.Call) -> bool:
    """Tell whether it is pathlib's `touch()`, whose name is not ours to choose."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr == "touch"
    return named and not call.args and {keyword.arg for keyword in call.keywords} <= {"mode", "exist_ok"}


def empty_names(source: Source) -> Iterator[Finding]:
    """A manager manages, a helper helps, a util is whatever nobody placed.

    Such names are where unrelated code gathers: the name excludes nothing, so everything fits. Say what it does.
    Looked at: public functions, classes and modules that we ship.
    """
    if source.is_test:
        return
    named = [(1, "module", source.path.parent.name if source.path.stem == "__init__" else source.path.stem)]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named.append((node.lineno, "function", node.name))
        elif isinstance(node, ast.ClassDef):
            named.append((node.lineno, "class", node.name))
    for line, kind, name in named:
        if name.startswith("_") or name in FOREIGN_NAMES:
            continue
        for word in sorted(words(name) & EMPTY_WORDS):
            yield Finding(
                source.path, line, f"The {kind} {name!r} says {word!r}, which says nothing: name what it does."
            )


def test_engines_and_ground_speak_no_domain_noun() -> None:
    assert report(domain_nouns, read(HOUSE, "src")) == ""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/isthmus/analytics/credit.py", "def linear(campaign_ids: list[str]) -> None: ...\n"),
        ("src/isthmus/analytics/touches.py", "SHARE = 1\n"),
        ("src/isthmus/store/relations.py", "RELATION = 'sales_pipeline'\n"),
        ("src/isthmus/store/relations.py", "QUERY = 'select id from invoices where closed'\n"),
        ("src/isthmus/gateway/limits.py", "def ask(call: object) -> None:\n    call.deal.close()\n"),
        ("src/isthmus/stream/relay.py", "class LeadChanged: ...\n"),
        ("src/isthmus/stream/relay.py", "def ask(person: object) -> None:\n    person.touch(at=1)\n"),
    ],
)
def test_a_domain_noun_in_an_engine_is_reported(plant: Plant, path: str, text: str) -> None:
    assert f"{path}:" in report(domain_nouns, [plant(path, text)])


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/isthmus/domains/sales/rules.py", "def is_won(deal: str) -> bool: ...\n"),
        ("src/isthmus/stream/relay.py", '"""Carries lead changes to whoever asked."""\nLEADING = "leads to no loss"\n'),
        ("src/isthmus/vault/keys.py", "from pathlib import Path\n\nPath('keys').touch(mode=0o600, exist_ok=True)\n"),
    ],
)
def test_domains_prose_and_pathlib_may_say_domain_nouns(plant: Plant, path: str, text: str) -> None:
    assert report(domain_nouns, [plant(path, text)]) == ""


def test_public_names_say_something() -> None:
    assert report(empty_names, read(HOUSE, "src", "tools")) == ""


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/isthmus/sync/utils.py", "LIMIT = 1\n"),
        ("src/isthmus/common_utils/__init__.py", "LIMIT = 1\n"),
        ("src/isthmus/sync/feeds.py", "class FeedManager: ...\n"),
        ("src/isthmus/sync/feeds.py", "async def process_batch() -> None: ...\n"),
    ],
)
def test_a_name_that_says_nothing_is_reported(plant: Plant, path: str, text: str) -> None:
    assert f"{path}:1: The " in report(empty_names, [plant(path, text)])


def test_private_names_may_say_anything(plant: Plant) -> None:
    assert report(empty_names, [plant("src/isthmus/sync/feeds.py", "def _load_data() -> None: ...\n")]) == ""
