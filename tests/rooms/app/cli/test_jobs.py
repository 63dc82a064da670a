"""`isthmus jobs` and `isthmus schedule` show what waits and when it comes, and change it."""

from tests.rooms.app.cli.conftest import Shell


def test_a_job_is_started_listed_cancelled_and_tried_again(shell: Shell) -> None:
    made = shell("jobs", "run", "sync.connection", "--argument", "connection=crm", "--json").row
    assert (made["status"], made["attempt"], made["arguments"]) == (
        "pending",
        0,
        {"connection": "crm", "parts": ["pull", "sweep", "push"], "confirmed": False},
    )
    own = str(made["id"])
    assert "is cancelled" in shell("jobs", "cancel", own).err
    assert own in shell("jobs", "ls", "--status", "paused").out
    assert "waits" in shell("jobs", "retry", own).err
    assert "waits or runs" in shell("jobs", "retry", own, code=5).err
    assert "success.health" in shell("jobs", "run", "nothing", code=3).err


def test_the_standard_schedule_is_moved_rested_run_and_filled(shell: Shell) -> None:
    found = {str(each["name"]): each for each in shell("schedule", "--json").rows}
    assert [found[name]["cron"] for name in ("daily-crm", "weekly-analytics", "monthly-report")] == [
        "0 2 * * *",
        "0 3 * * 0",
        "0 5 * * 1#1",
    ]
    moved = shell("schedule", "edit", "daily-crm", "--cron", "30 1 * * *", "--zone", "Asia/Tokyo", "--json").row
    assert (moved["cron"], moved["zone"], str(moved["next_at"])[11:16]) == ("30 1 * * *", "Asia/Tokyo", "16:30")
    assert "no time zone" in shell("schedule", "zone", "Mars/Base", code=1).err
    assert "rests" in shell("schedule", "pause", "daily-crm", "--reason", "moving").err
    assert shell("schedule", "run", "daily-crm", "--json").row["schedule"] == "daily-crm"
    assert "waits or goes on" in shell("schedule", "run", "daily-crm", code=5).err
    filled = shell("schedule", "backfill", "daily-health", "--from", "2026-11-01", "--to", "2026-11-04", "--json").row
    rows = shell("jobs", "ls", "--schedule", "daily-health", "--json").rows
    assert (sorted(str(each["id"]) for each in rows), len(rows)) == (filled["jobs"], 3)
