"""What standards ask in numbers and bytes."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.oauth.codes import CODE_LIFE
from isthmus.auth.oauth.devices import DEVICE_LIFE
from isthmus.auth.oauth.grants import OFFLINE_LIFE, ONLINE_LIFE
from isthmus.auth.oauth.issuing import ID_LIFE, TOKEN_LIFE
from isthmus.vault import SealBroken, open_sealed, seal
from tests.house.sources import HOUSE

KEY, NONCE = bytes(range(32)), bytes(range(12))


def test_codes_and_tokens_live_for_as_long_as_the_standards_allow() -> None:
    assert timedelta(minutes=1) >= CODE_LIFE
    assert timedelta(minutes=15) >= DEVICE_LIFE
    assert timedelta(minutes=15) >= max(TOKEN_LIFE, ID_LIFE)
    assert timedelta(days=30) >= OFFLINE_LIFE > ONLINE_LIFE


@given(st.binary(max_size=60), st.integers(0, 255).filter(lambda byte: byte != 1))
def test_every_ciphertext_begins_with_a_version_and_another_version_does_not_open(plain: bytes, other: int) -> None:
    sealed = seal(plain, key=KEY, nonce=NONCE, bound=b"")
    assert sealed[0] == 1
    with pytest.raises(SealBroken):
        open_sealed(bytes([other]) + sealed[1:], key=KEY, bound=b"")


def test_no_two_locks_of_the_database_have_one_number() -> None:
    sources = [file.read_text("utf-8") for file in sorted((HOUSE / "src").rglob("*.py"))]
    numbers = Counter(
        int(found) for text in sources if "pg_" in text for found in re.findall(r"LOCK = ([0-9_]{10,})", text)
    )
    assert len(numbers) >= 3
    assert [number for number, count in numbers.items() if count > 1] == []
