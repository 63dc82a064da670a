"""`isthmus threats` lists, sets modes and keeps honey."""

from typing import cast

from tests.rooms.app.cli.conftest import Shell

KEY = "key_01M82YSJ4HFXZ84M56NRQMT21D"


def test_a_new_installation_enforces_what_does_not_judge_by_the_usual(shell: Shell) -> None:
    modes = cast("dict[str, str]", shell("threats", "mode", "--json").row["modes"])
    assert [name for name, mode in modes.items() if mode == "enforce"] == ["stuffing", "honey"]
    changed = cast("dict[str, str]", shell("threats", "mode", "volume", "enforce", "--json").row["modes"])
    assert changed["volume"] == "enforce"
    shell("threats", "mode", "volume", "observe")


def test_honey_is_laid_out_and_taken_away(shell: Shell) -> None:
    assert KEY in shell("threats", "honey", "key", KEY, "--note", "in a script").out
    assert "no honey" in shell("threats", "honey", "key", KEY, "--remove").err
    assert shell("threats", "honey", "key", KEY, "--remove", code=3).err
    assert shell("threats", "honey", "key", "nonsense", code=1).err


def test_nothing_is_found_where_nobody_called(shell: Shell) -> None:
    assert "nothing was found" in shell("threats").err
    assert "0 calls" in shell("threats", "replay", "--days", "1").err
    assert "There is no threat" in shell("threats", "show", "thr_01M82YSJ4HFXZ84M56NRQMT21D", code=3).err
