"""Canonical JSON is the form of RFC 8785, which ECMAScript itself agrees to."""

import json
import math
import struct
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from isthmus.audit.canonical import canonical_json, number_text
from isthmus.audit.entry import Entry, canonical
from tests.counterparts import require_debian

# RFC 8785, appendix B: IEEE 754 bits and the text of the number.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


def _double(bits: str) -> float:
    return float(struct.unpack(">d", bytes.fromhex(bits))[0])


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_the_standard_lists_them(bits: str, text: str) -> None:
    assert number_text(_double(bits)) == text


def test_numbers_are_written_as_ecmascript_writes_them() -> None:
    node = require_debian("nodejs", binary="node")
    chance = Random(8785)
    drawn = [struct.unpack(">d", chance.randbytes(8))[0] for _ in range(5_000)]
    drawn += [chance.uniform(-1, 1) * 10 ** chance.randint(-9, 23) for _ in range(5_000)]
    finite = [each for each in drawn if math.isfinite(each)]
    script = (
        "const v = JSON.parse(require('fs').readFileSync(0)); console.log(v.map(x => JSON.stringify(x)).join('\\n'))"
    )
    said = subprocess.run([node, "-e", script], input=json.dumps(finite), capture_output=True, text=True, check=True)
    assert [number_text(each) for each in finite] == said.stdout.split()


def test_members_stand_in_the_order_of_utf_16_and_texts_are_escaped_as_little_as_can_be() -> None:
    # RFC 8785, 3.2.3: the emoji is two code units that begin below the Hebrew letter.
    given = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    assert (
        canonical_json(given).decode() == '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\U0001f600":5,"\ufb33":3}'
    )
    assert canonical_json('\u20ac$\u000f\nA\'B"\\\\"/') == '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'.encode()
    assert canonical_json([56, {"d": True, "10": None, "1": list[int]()}]) == b'[56,{"1":[],"10":null,"d":true}]'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {"\ud800": 1}])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_json(value)


def test_an_entry_has_one_form_however_its_members_were_given() -> None:
    at = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
    one = Entry(
        workspace=3,
        at=at,
        actor="key:1",
        action="key.created",
        resource="api_key",
        request_id="r",
        id=9,
        record_id=UUID(int=7),
        details={"b": 1.0, "a": "ü"},
    )
    assert canonical(one) == canonical(replace(one, details={"a": "ü", "b": 1}))
    assert json.loads(canonical(one))["at"] == "2026-11-02T09:30:00.000000Z"
    assert canonical(one) != canonical(replace(one, id=10))
