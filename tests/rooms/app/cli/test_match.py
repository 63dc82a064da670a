"""Matching at the terminal: records are merged by hand, explained, and taken apart."""

from uuid import UUID

from isthmus.kernel.ids import text_of
from tests.rooms.app.cli.conftest import Shell


def test_two_records_are_merged_by_hand_explained_and_taken_apart(shell: Shell) -> None:
    rows = (
        "id,email,first_name,last_name,company",
        "1,ada@a.example,Ada,Lovelace,Engines",
        "2,ada@b.example,Ada,,Engines",
    )
    (shell.here / "leads.csv").write_text("\n".join(rows))
    shell("import", "leads.csv", "--type", "sales.lead")
    kept, merged = ids(shell)
    done = shell("match", "merge", kept, merged, "--json").row
    assert (done["kept"], done["merged"], done["evidence"]) == (kept, merged, "by hand")
    assert "nobody is known" in shell("match", "likely", kept).err
    (told,) = shell("match", "explain", kept, "--json").rows
    assert told["id"] == done["id"]
    assert "stands by itself again" in shell("match", "unmerge", str(done["id"])).out
    assert ids(shell) == [kept, merged]
    assert shell("match", "unmerge", str(done["id"]), code=5).err
    assert "is no id of a record" in shell("match", "explain", "nothing", code=1).err


def test_a_run_tells_what_it_did_and_nobody_waits(shell: Shell) -> None:
    assert "sales.lead: 0 records, 0 merged, 0 new for you to decide" in shell("match", "run").out
    assert "nobody waits" in shell("match").err
    assert "no pair with this id" in shell("match", "refuse", "mtch_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).err


def ids(shell: Shell) -> list[str]:
    """The living leads, the oldest first."""
    query = "select id from sales_lead where merged_into is null order by id"
    return [text_of("lead", UUID(str(each["id"]))) for each in shell("query", query, "--json").rows]
