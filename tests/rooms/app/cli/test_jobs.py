"""`isthmus jobs` and `isthmus schedule` show what waits and when it comes, and change it."""

from tests.rooms.app.cli.conftest import Shell


def test_a_job_is_started_listed_cancelled_and_tried_again(shell: Shell) -> None:
    assert "no jobs" in shell("jobs").err
    assert "success.health" in shell("jobs", "kinds").out
    made = shell("jobs", "run", "sync.connection", "--argument", "connection=crm", "--json").row
    assert (made["status"], made["attempt"]) == ("pending", 0)
    own = str(made["id"])
    assert own in shell("jobs", "ls", "--status", "pending").out
    assert "is cancelled" in shell("jobs", "cancel", own).err
    assert "has ended" in shell("jobs", "cancel", own, code=5).err
    assert "waits" in shell("jobs", "retry", own).err
    assert "waits or runs" in shell("jobs", "retry", own, code=5).err
    assert '"connection": "crm"' in shell("jobs", "show", own).out


def test_what_is_no_job_is_refused_in_words(shell: Shell) -> None:
    assert "success.health" in shell("jobs", "run", "nothing", code=3).err
    assert "connection" in shell("jobs", "run", "sync.connection", code=1).err
    assert "connection=crm" in shell("jobs", "run", "sync.connection", "--argument", "crm", code=2).err
    assert "isthmus jobs ls" in shell("jobs", "show", "job_01KAX3V9Q2M4T8Z5N7P6R1S0WD", code=3).err


def test_the_standard_schedule_is_moved_rested_and_run(shell: Shell) -> None:
    found = {str(each["name"]): each for each in shell("schedule", "--json").rows}
    assert [found[name]["cron"] for name in ("daily-crm", "weekly-analytics", "monthly-report")] == [
        "0 2 * * *",
        "0 3 * * 0",
        "0 5 * * 1#1",
    ]
    moved = shell("schedule", "edit", "daily-crm", "--cron", "30 1 * * *", "--zone", "Asia/Tokyo", "--json").row
    assert (moved["cron"], moved["zone"], str(moved["next_at"])[11:16]) == ("30 1 * * *", "Asia/Tokyo", "16:30")
    assert "cron expression" in shell("schedule", "edit", "daily-crm", "--cron", "61 1 * * *", code=1).err
    assert "rests" in shell("schedule", "pause", "daily-crm", "--reason", "moving").err
    assert shell("schedule", "run", "daily-crm", "--json").row["schedule"] == "daily-crm"
    assert "waits or goes on" in shell("schedule", "run", "daily-crm", code=5).err
    assert "comes next" in shell("schedule", "resume", "daily-crm").err
    assert shell("schedule", "zone", "Europe/Brussels").out == "Europe/Brussels\n"
    assert "no time zone" in shell("schedule", "zone", "Mars/Base", code=1).err


def test_a_schedule_of_ones_own_is_added_filled_and_removed(shell: Shell) -> None:
    shell("schedule", "add", "noon", "success.health", "--cron", "0 12 * * *")
    filled = shell("schedule", "backfill", "noon", "--from", "2026-11-01", "--to", "2026-11-04", "--json").row
    rows = shell("jobs", "ls", "--schedule", "noon", "--json").rows
    assert sorted(str(each["id"]) for each in rows) == filled["jobs"]
    assert len(rows) == 3
    assert "gone" in shell("schedule", "rm", "noon").err
    assert "no schedule" in shell("schedule", "rm", "noon", code=3).err
