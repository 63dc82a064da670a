"""What waits for a person: listed by what is at stake, shown with both sides, decided, undone."""

import msgspec

from tests.rooms.app.cli.conftest import Shell


def ids(shell: Shell, *options: str) -> list[str]:
    """Return the ids of listed cases."""
    return [str(row["id"]) for row in shell("conflicts", "ls", *options, "--json").rows]


def amounts_at_stake(rows: list[dict[str, object]]) -> list[str]:
    """Return the amounts at stake, where there are any."""
    stakes = [msgspec.convert(each["stake"], dict[str, str] | None) for each in rows]
    return [stake["amount"] for stake in stakes if stake]


def test_cases_are_decided_in_bulk_one_by_one_and_undone(shell: Shell) -> None:
    shell.connect("crm")
    shell.connect("billing")
    shell("sync", "run", "--all", "--only", "pull")
    amounts = ids(shell, "--type", "sales.deal", "--field", "amount")
    tried = shell("conflicts", "resolve", "--all", "--type", "sales.deal", "--take", "--dry-run")
    assert "nothing was decided" in tried.err
    assert ids(shell, "--type", "sales.deal") == amounts
    first, second, third, *_ = amounts
    taken = shell("conflicts", "resolve", first, "--take", "--note", "billing is right", "--json").row
    assert (taken["status"], taken["choice"], taken["note"]) == ("resolved", "claimed", "billing is right")
    assert "is resolved" in shell("conflicts", "resolve", second, "--value", "12,345.60 EUR").out
    again = shell("conflicts", "resolve", first, "--keep", code=5)
    assert "The case is resolved." in again.err
    assert shell("conflicts", "undo", first, "--json").row["status"] == "open"
    sided = shell("conflicts", "resolve", third, "--side", "billing", "--learn", "--note", "invoiced", "--json").row
    assert (sided["status"], sided["note"]) == ("resolved", "invoiced")
    (rule,) = shell("conflicts", "rules", "--json").rows
    assert (rule["winner"], rule["loser"], rule["field"], rule["learned_from"]) == ("billing", "crm", "amount", third)
    assert "forgot that billing wins over crm on amount" in shell("conflicts", "forget", str(rule["id"])).out
    shell("conflicts", "undo", third)
    done = shell("conflicts", "resolve", "--all", "--type", "sales.deal", "--keep", "--json").rows
    assert sorted(str(each["id"]) for each in done) == sorted(set(amounts) - {second})
    assert ids(shell, "--type", "sales.deal") == []
    assert sorted(ids(shell, "--type", "sales.deal", "--status", "resolved")) == sorted(amounts)
    query = "select amount, amount_currency from sales_deal where amount = 12345.60"
    assert shell("query", query, "--json").rows == [{"amount": "12345.6000", "amount_currency": "EUR"}]


def test_cases_are_listed_with_most_at_stake_first(company: Shell) -> None:
    rows = company("conflicts", "--json").rows
    stakes = [float(amount) for amount in amounts_at_stake(rows)]
    assert stakes == sorted(stakes, reverse=True)
    assert len(stakes) > 1
    large = amounts_at_stake(company("conflicts", "ls", "--min-stake", str(stakes[0]), "--json").rows)
    assert [float(amount) for amount in large] == [each for each in stakes if each >= stakes[0]]
    table = company("conflicts", "ls").out
    assert "(crm)" in table
    assert "(billing)" in table


def test_a_case_shows_both_sides_and_what_the_last_write_would_hold(company: Shell) -> None:
    case = ids(company, "--type", "sales.deal")[0]
    shown = company("conflicts", "show", case)
    for word in ("kept", "claimed", "crm", "billing", "last write wins would hold", "at stake"):
        assert word in shown.out
    assert f"isthmus conflicts resolve {case}" in shown.err
    document = company("conflicts", "show", case.removeprefix("case_"), "--json").row
    assert document["last_write_wins"] in {"kept", "claimed"}


def test_choices_that_do_not_fit_together_are_usage_errors(shell: Shell) -> None:
    case = "case_01KAX3V9Q2M4T8Z5N7P6R1S0WD"
    assert "Say one of" in shell("conflicts", "resolve", case, code=2).err
    assert "Say one of" in shell("conflicts", "resolve", case, "--keep", "--take", code=2).err
    assert "--all" in shell("conflicts", "resolve", "--keep", code=2).err
    assert "--all" in shell("conflicts", "resolve", "--all", "--value", "1", code=2).err
    assert "--all" in shell("conflicts", "resolve", case, "--keep", "--dry-run", code=2).err


def test_ids_that_name_nothing_are_not_found(shell: Shell) -> None:
    assert "There is no case" in shell("conflicts", "show", "case_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).err
    assert "is not an id" in shell("conflicts", "undo", "deal_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).err


def test_how_far_systems_agree_is_told_by_field_and_record_by_record(company: Shell) -> None:
    asked = ("discrepancies", "--type", "sales.deal", "--field", "amount", "--between", "billing", "crm", "--records")
    told = company(*asked, "--json").row
    (amount,) = msgspec.convert(told["data"], list[dict[str, str | int | float]])
    assert (amount["one"], amount["other"]) == ("billing", "crm")
    assert told["accuracy"] == 1 - int(amount["differing"]) / int(amount["compared"])
    assert len(msgspec.convert(told["records"], list[dict[str, object]])) == amount["differing"]
    shown = company(*asked)
    assert "(billing)" in shown.out
    assert "compared fields agree" in shown.err


def test_an_empty_inbox_says_so_on_stderr(shell: Shell) -> None:
    said = shell("conflicts")
    assert (said.out, "nothing waits for a person" in said.err) == ("", True)
