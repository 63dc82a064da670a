"""Which passwords are taken, and how they are kept."""

import asyncio
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from argon2 import PasswordHasher, extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from isthmus.auth.people import passwords
from isthmus.auth.people.errors import SignInBusy, WeakPassword
from isthmus.auth.people.passwords import LANES, MEMORY_KIB, PASSES, Passwords, check_password
from isthmus.vault import KeyStore, Vault


@pytest.mark.parametrize(
    "password",
    [
        "Password123456789!",
        "P@ssw0rdP@ssw0rd",
        "qwertyuiopasdfgh",
        "1234567890123456",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "correct horse battery staple",
        "!!!letmein!!!!!!!",
        "Isthmus2026!!!!!!!",
        "adabyron-adabyron",
        "1qaz2wsx3edc4rfv",
    ],
)
def test_what_is_tried_first_is_no_password(password: str) -> None:
    with pytest.raises(WeakPassword, match="tried first"):
        check_password(password, alone=True, context=("adabyron",))


@pytest.mark.parametrize(
    "password",
    ["seven unrelated grey lamps", "mango tractor silent nine", "Ich esse gern Kuchen am See", "x" * 7 + "yz" * 40],
)
def test_unrelated_words_are(password: str) -> None:
    assert check_password(password, alone=True) == password


def test_fifteen_characters_stand_alone_and_eight_beside_a_second_factor() -> None:
    assert check_password("fig-lamp-42-ox!", alone=True)
    for short, alone in (("fig-lamp-42-ox", True), ("fig-42x", False)):
        with pytest.raises(WeakPassword, match="fewer than"):
            check_password(short, alone=alone)
    assert check_password("fig-42xy", alone=False)


def test_long_passwords_are_taken_to_a_thousand_characters() -> None:
    long = "".join(chr(0x4E00 + n) for n in range(1_000))
    assert check_password(long, alone=True) == long
    with pytest.raises(WeakPassword, match="over 1000"):
        check_password(long + "x", alone=True)


def test_there_is_no_rule_of_composition() -> None:
    assert check_password("only small letters and spaces", alone=True)


@given(st.text(min_size=1, max_size=60))
def test_any_text_is_taken_in_its_normal_form_or_refused(text: str) -> None:
    taken = text
    with suppress(WeakPassword):
        taken = check_password(text, alone=True)
        assert taken == unicodedata.normalize("NFKC", text)
        assert len(taken) >= 15
    assert taken


async def test_what_is_kept_is_argon2id_of_the_owasp_profile_and_not_of_the_password_itself(vault: Vault) -> None:
    own = Passwords(vault)
    stored = await own.hashed("seven unrelated grey lamps", workspace=7)
    kept = extract_parameters(stored)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (kept.memory_cost, kept.time_cost, kept.parallelism) == (19 * 1024, 2, 1)
    assert (await own.verify(stored, "seven unrelated grey lamps", workspace=7)).right
    assert not (await own.verify(stored, "seven unrelated grey lamp", workspace=7)).right
    assert not (await own.verify(stored, "seven unrelated grey lamps", workspace=8)).right
    assert stored != await own.hashed("seven unrelated grey lamps", workspace=7)


async def test_a_stolen_hash_cannot_be_tried_without_the_key_of_the_vault(vault: Vault, tmp_path: Path) -> None:
    stored = await Passwords(vault).hashed("seven unrelated grey lamps", workspace=7)
    other = KeyStore(tmp_path / "other.sqlite", kek=bytes(32))
    assert not (await Passwords(Vault(other)).verify(stored, "seven unrelated grey lamps", workspace=7)).right
    other.close()


async def test_letters_that_look_the_same_are_the_same_password(vault: Vault) -> None:
    own = Passwords(vault)
    stored = await own.hashed("Caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{LATIN SMALL LIGATURE FI}sh", workspace=7)
    assert (await own.verify(stored, "Cafe\N{COMBINING ACUTE ACCENT} fish", workspace=7)).right


async def test_a_hash_with_other_parameters_is_made_anew_when_the_password_was_right(vault: Vault) -> None:
    stored = await Passwords(vault, memory_kib=8_192).hashed("seven unrelated grey lamps", workspace=7)
    assert "m=8192" in stored
    own = Passwords(vault)
    assert (await own.verify(stored, "wrong", workspace=7)).renewed is None
    renewed = (await own.verify(stored, "seven unrelated grey lamps", workspace=7)).renewed
    assert renewed is not None
    assert "m=19456" in renewed
    assert (await own.verify(renewed, "seven unrelated grey lamps", workspace=7)).renewed is None


async def test_nobody_costs_as_much_as_somebody_and_is_never_right(vault: Vault) -> None:
    nobody = passwords._NOBODY  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - its cost is what is promised.
    assert not PasswordHasher(PASSES, MEMORY_KIB, LANES, 32, 16).check_needs_rehash(nobody)
    assert not (await Passwords(vault).verify(None, "nobody at all", workspace=0)).right


async def test_a_flood_is_refused_and_not_queued_without_end(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "WAITING_MAX", 4)
    own = Passwords(vault)
    tries = await asyncio.gather(*(own.verify(None, "x", workspace=0) for _ in range(12)), return_exceptions=True)
    assert sum(isinstance(each, SignInBusy) for each in tries) == 8
