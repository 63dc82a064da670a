"""Every policy that the documentation shows can be kept, and its tables name what there is."""

import re
from pathlib import Path

import pytest

from isthmus.app.discovery import schema
from isthmus.app.http.assembly import all_routes
from isthmus.gateway.policy.language import read_policy
from isthmus.gateway.policy.vocabulary import CALLER_ATTRIBUTES, CONTEXT, Vocabulary

DOCS = Path(__file__).parents[4] / "docs"
SHOWN = re.findall(r"```cedar\n(.*?)```", (DOCS / "how-to" / "write-a-policy.md").read_text("utf-8"), re.DOTALL)
REFERENCE = (DOCS / "reference" / "policies.md").read_text("utf-8")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    """What policies may speak of."""
    return Vocabulary(all_routes(schema()), schema().types)


@pytest.mark.parametrize("text", SHOWN, ids=[text.split('"')[1] for text in SHOWN])
def test_a_documented_policy_can_be_kept(vocabulary: Vocabulary, text: str) -> None:
    vocabulary.check(read_policy(text))


def test_there_are_documented_policies() -> None:
    assert len(SHOWN) == 7


@pytest.mark.parametrize("name", sorted({*CALLER_ATTRIBUTES, *CONTEXT}))
def test_every_attribute_is_documented(name: str) -> None:
    assert f".{name}`" in REFERENCE
