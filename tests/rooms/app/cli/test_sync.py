"""Running connections: progress on stderr, counts on stdout, plans before writes, rejects kept and tried again."""

import signal

import msgspec
from msgspec import Struct

from tests.rooms.app.cli.conftest import Said, Shell


def test_runs_are_counted_on_stdout_and_told_on_stderr(shell: Shell) -> None:
    shell.connect("crm")
    said = shell("sync", "run", "crm", "--only", "pull", "--json")
    (run,) = said.rows
    assert run["connection"] == "crm"
    assert run["kind"] == "pull"
    assert run["status"] == "degraded", "the fake company has rows that cannot be stored"
    assert run["read"] == sum(int(str(run[name])) for name in ("created", "changed", "unchanged", "rejected"))
    assert "crm: degraded after" in said.err
    watched = shell("sync", "watch", "crm", "--json").row
    assert watched["id"] == run["id"]


def test_a_second_pull_reads_nothing_new(company: Shell) -> None:
    (run,) = company("sync", "run", "billing", "--only", "pull", "--json").rows
    assert (run["read"], run["created"], run["changed"]) == (0, 0, 0)


def test_every_feed_has_its_freshness_under_one_status(company: Shell) -> None:
    streams = {str(row["connection"]): row for row in company("sync", "--json").rows}
    assert streams["crm"]["status"] == "degraded"
    assert streams["crm"]["rejected"]
    feeds = msgspec.convert(streams["billing"]["feeds"], list[dict[str, str | float | None]])
    assert all(feed["finished_at"] and feed["next_at"] for feed in feeds)
    table = company("sync", "status").out
    assert "degraded (" in table
    assert "just now" in table or "min ago" in table


def test_what_could_not_be_stored_is_grouped_by_cause_and_listed_by_row(company: Shell) -> None:
    causes = company("sync", "rejected", "--system", "crm", "--json").rows
    rows = company("sync", "rejected", "--system", "crm", "--rows", "--json").rows
    assert sum(int(str(each["rows"])) for each in causes) == len(rows) > 0
    code = str(causes[0]["code"])
    only = company("sync", "rejected", "--system", "crm", "--code", code, "--rows", "--json").rows
    assert {row["code"] for row in only} == {code}
    assert all(row["reason"] and row["external_id"] for row in only)


def test_trying_again_what_is_still_broken_leaves_it(company: Shell) -> None:
    rows = company("sync", "rejected", "--system", "billing", "--rows", "--json").rows
    assert company("sync", "retry", "billing", "--json").row == {"stored": 0, "left": len(rows)}
    assert "still rejected" in company("sync", "retry", "billing").out


def test_a_plan_shows_each_field_masks_what_is_personal_and_writes_nothing(company: Shell) -> None:
    said = company("sync", "plan", "crm")
    assert "title  ••• → •••" in said.out
    assert "nothing written" in said.err
    masked = fields(company("sync", "plan", "crm", "--json"), "title")
    shown = fields(company("sync", "plan", "crm", "--json", "--show-personal"), "title")
    assert len(masked) == len(shown) > 0
    assert {each.here for each in masked} == {"•••"}
    assert all(each.here != each.there for each in shown)


class Field(Struct):
    """A field of a planned write."""

    field: str
    there: str | None
    here: str | None


class Write(Struct):
    """A planned write."""

    kind: str
    fields: list[Field]


def fields(said: Said, name: str) -> list[Field]:
    """Return the fields of that name in a plan."""
    writes = msgspec.convert([row for row in said.rows if row["type"] == "sales.person"], list[Write])
    return [field for write in writes for field in write.fields if field.field == name]


def test_what_was_read_is_read_again_whole_or_a_span_and_stands_in_the_list_of_runs(company: Shell) -> None:
    span = ("--since", "2026-01-01", "--until", "2026-02-01T00:00:00Z")
    some = company("sync", "backfill", "billing", "billing.invoices", *span, "--json").row
    every = company("sync", "resync", "billing", "--json").row
    assert 0 < int(str(some["read"])) < int(str(every["read"]))
    assert (some["kind"], some["created"], every["kind"], every["created"]) == ("backfill", 0, "resync", 0)
    last, before, *_ = company("sync", "runs", "--connection", "billing", "--json").rows
    assert (last["kind"], before["kind"]) == ("resync", "backfill")
    counts = {"feed": "billing.invoices", "read": some["read"], "unchanged": some["unchanged"]}
    (feed,) = msgspec.convert(before["feeds"], list[dict[str, object]])
    assert counts.items() <= feed.items()
    assert "has no feed" in company("sync", "backfill", "billing", "nothing", code=3).err


def test_outcomes_are_searched_across_runs(company: Shell) -> None:
    rows = company("sync", "outcomes", "--connection", "crm", "--outcome", "rejected", "--json").rows
    own = str(rows[0]["external_id"])
    assert own in company("sync", "outcomes", "--external-id", own).out


def test_connections_are_named_or_all_are_meant(shell: Shell) -> None:
    assert "--all" in shell("sync", "run", code=2).err
    assert shell("sync", "run", "--all", "--json").rows == []
    assert "There is no connection" in shell("sync", "run", "nowhere", code=3).err
    assert "There is no connection" in shell("sync", "plan", "nowhere", code=3).err


def test_one_that_fails_does_not_keep_others_from_running(shell: Shell) -> None:
    shell.connect("crm")
    shell("connect", "pause", "crm")
    shell.connect("desk")
    said = shell("sync", "run", "crm", "desk", "--only", "pull", "--json", code=5)
    assert [(row["connection"], row["status"]) for row in said.rows] == [("crm", "paused"), ("desk", "healthy")]
    assert "crm: 'crm' is paused" in said.err


def test_an_interrupted_run_ends_in_order_with_130(shell: Shell) -> None:
    shell.connect("crm", "--set", "latency_ms=5000", "--no-check")
    running = shell.start("sync", "run", "crm", "--only", "pull")
    assert running.stderr is not None
    while "crm.accounts" not in running.stderr.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.endswith("stopped\n")
    assert "Traceback" not in err
    assert shell("sync", "watch", "crm", "--json", code=1).row["finished_at"]
