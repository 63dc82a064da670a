"""`isthmus limits` sets what the gate counts, and says what is wrong with a wish."""

from typing import cast

from tests.rooms.app.cli.conftest import Said, Shell


def names(said: Said) -> list[str]:
    """Return the names of the limits that hold."""
    return [str(each["name"]) for each in cast("list[dict[str, object]]", said.row["limits"])]


def test_a_workspace_has_the_limits_of_its_tier_until_it_sets_its_own(shell: Shell) -> None:
    assert shell("limits", "--json").row["tier"] == "enterprise"
    said = shell("limits", "set", "exports", "--scope", "caller", "--rate", "60/m", "--burst", "10", "--json")
    assert names(said) == ["caller", "exports", "workspace"]
    assert said.row["own"] == ["exports"]
    assert shell("limits", "set", "--tier", "free", "--json").row["tier"] == "free"
    shown = shell("limits", "ls")
    assert "1,000 / 3,600 s" in shown.out
    assert "tier free" in shown.err
    assert names(shell("limits", "set", "exports", "--remove", "--json")) == ["caller", "workspace"]


def test_a_limit_of_the_tiers_name_takes_its_place(shell: Shell) -> None:
    said = shell("limits", "set", "caller", "--scope", "caller", "--rate", "20/10s", "--quota-day", "500", "--json")
    (caller,) = [each for each in cast("list[dict[str, object]]", said.row["limits"]) if each["name"] == "caller"]
    assert (caller["count"], caller["seconds"], caller["quota_day"]) == (20, 10, 500)


def test_wishes_that_make_no_limit_are_refused(shell: Shell) -> None:
    assert "--scope" in shell("limits", "set", "x", "--rate", "5/s", code=2).err
    assert "is no rate" in shell("limits", "set", "x", "--scope", "caller", "--rate", "fast", code=2).err
    assert "limits nothing" in shell("limits", "set", "x", "--scope", "caller", code=1).err
    assert "no limit 'x'" in shell("limits", "set", "x", "--remove", code=3).err
    assert "--tier" in shell("limits", "set", code=2).err
    assert "2026-11" in shell("limits", "usage", "--period", "november", code=2).err


def test_use_is_told_by_caller_and_is_empty_at_first(shell: Shell) -> None:
    assert shell("limits", "usage", "--period", "2026-11", "--json").row["callers"] == []
    assert "nothing was used" in shell("limits", "usage").err
