"""The doctor finds what is wrong, says the fix, and leaves everything as it was."""

from dataclasses import replace
from pathlib import Path

import msgspec
import psycopg
import pytest

from isthmus.app.doctor import Finding
from isthmus.app.doctor.encryption import encrypted_by
from isthmus.app.doctor.engines import migrations
from isthmus.app.engines import EngineSettings, running_engines
from tests.rooms.app.cli.conftest import Shell
from tests.rooms.app.engines import stage


def findings(shell: Shell, *, code: int = 0) -> dict[str, Finding]:
    """Return what the doctor finds, by check."""
    document = shell("doctor", "--json", code=code).row
    assert document["healthy"] is (code == 0)
    return {each.check: each for each in msgspec.convert(document["checks"], list[Finding])}


def test_a_healthy_installation_passes_every_check(company: Shell) -> None:
    found = findings(company)
    names = {"data directory", "disk", "at rest", "key-encryption key", "address and TLS", "program"}
    assert names | {"PostgreSQL", "Valkey", "migrations", "clock", "workspaces", "events"} <= set(found)
    assert [each for each in found.values() if each.state == "fail"] == []
    assert "fits the" in found["key-encryption key"].found
    assert company.workspace in found["workspaces"].found
    assert "ok    PostgreSQL" in company("doctor").out


def test_where_nothing_was_started_the_next_step_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "site", tmp_path, "main")
    found = findings(shell)
    assert found["data directory"].fix == "Make it: isthmus up"
    assert "is installed" in found["PostgreSQL"].found
    assert not (tmp_path / "site").exists()


def test_a_key_that_others_can_read_fails_until_it_is_private(company: Shell) -> None:
    kek = company.data_dir / "secrets" / "kek"
    kek.chmod(0o644)
    try:
        found = findings(company, code=1)
    finally:
        kek.chmod(0o600)
    assert found["key-encryption key"].fix == f"chmod 600 {kek}"
    assert found["data directory"].state == "fail"


def test_another_key_than_the_one_that_sealed_fails(company: Shell) -> None:
    kek = company.data_dir / "secrets" / "kek"
    own = kek.read_text("ascii")
    kek.write_text("00" * 32, "ascii")
    try:
        found = findings(company, code=1)
    finally:
        kek.write_text(own, "ascii")
    assert found["key-encryption key"].found == "A stored data key does not unwrap."


def test_a_lost_key_is_not_replaced_by_a_new_one(company: Shell) -> None:
    kek = company.data_dir / "secrets" / "kek"
    away = kek.rename(kek.with_name("kek.away"))
    try:
        found = findings(company, code=1)
        assert not kek.exists()
    finally:
        away.rename(kek)
    assert "Restore it" in found["key-encryption key"].fix


def test_no_command_replaces_a_lost_key(company: Shell) -> None:
    kek = company.data_dir / "secrets" / "kek"
    away = kek.rename(kek.with_name("kek.away"))
    try:
        said = company("connect", "ls", code=1)
        assert not kek.exists()
    finally:
        away.rename(kek)
    assert "Restore it from your copy" in said.err


def test_a_mistyped_workspace_is_refused_and_not_made(company: Shell) -> None:
    mistyped = f"{company.workspace}e"
    for _ in range(2):
        said = replace(company, workspace=mistyped)("connect", "ls", code=3)
        assert f"There is no workspace '{mistyped}'; there are: {company.workspace}" in said.err


def test_an_address_beyond_this_machine_needs_a_certificate(company: Shell) -> None:
    company.environment["ISTHMUS_HOST"] = "0.0.0.0"  # noqa: S104 - that this is refused is what is tested.
    try:
        found = findings(company, code=1)
    finally:
        del company.environment["ISTHMUS_HOST"]
    assert "tls_certificate" in found["address and TLS"].fix


def test_a_late_schedule_and_a_system_in_trouble_are_warnings(shell: Shell) -> None:
    shell.connect("crm", "--every", "15m")
    shell.connect("desk")
    with owner(shell.data_dir) as connection:
        connection.execute("update connection set created_at = created_at - interval '25 min' where name = 'crm'")
        assert late(shell, "crm") == []
        connection.execute("update connection set created_at = created_at - interval '7 min' where name = 'crm'")
        connection.execute("update connection set status = 'needs attention', reason = 'No.' where name = 'desk'")
        (crm,), (desk,) = late(shell, "crm"), late(shell, "desk")
    assert (crm.state, desk.state) == ("warn", "warn")
    assert "due every 15 min" in crm.found
    assert desk.found == "needs attention: No."
    shell("connect", "rm", "crm", "--yes")
    shell("connect", "rm", "desk", "--yes")


def test_a_job_that_failed_for_good_and_a_schedule_that_does_not_come_are_warnings(shell: Shell) -> None:
    shell("schedule", "ls")
    shell("jobs", "run", "success.health")
    with owner(shell.data_dir) as connection:
        mine = (shell.workspace,)
        query = "update {} where workspace = (select id from workspace where slug = %s)"
        connection.execute(query.format("job set status = 'needs attention', reason = 'No.'").encode(), mine)
        late = "schedule set next_at = now() - interval '2 min'"
        connection.execute(query.format(late).encode() + b" and name = 'daily-crm'", mine)
    found = findings(shell)
    assert "success.health" in found["jobs"].found
    assert found["schedule daily-crm"].state == "warn"
    with owner(shell.data_dir) as connection:
        connection.execute("delete from job")
        connection.execute("update schedule set next_at = null")


def late(shell: Shell, name: str) -> list[Finding]:
    """Return what the doctor finds of a connection."""
    return [each for check, each in findings(shell).items() if check.startswith(f"connection {name}")]


def test_a_schema_that_is_not_that_of_the_program_is_said(shell: Shell) -> None:
    with owner(shell.data_dir) as connection, connection.transaction(force_rollback=True):
        connection.execute("delete from migration where name = (select max(name) from migration)")
        pending = migrations(connection, runs=False)
        connection.execute("update migration set digest = 'another' where name = (select min(name) from migration)")
        changed = migrations(connection, runs=True)
    assert (pending.state, pending.fix) == ("warn", "Apply them: isthmus up")
    assert changed.state == "fail"
    assert "with another content" in changed.found


def owner(data_dir: Path) -> psycopg.Connection:
    """Connect as the owner of the tables."""
    running = running_engines(settings=EngineSettings(data_dir=data_dir))
    assert running is not None
    return stage.connect(running.postgres.owner)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A made-up /proc and /sys: the root on plain disk, /data on LVM over LUKS, /vault on gocryptfs."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"23 22 253:1 / {tmp_path}/data rw - ext4 /dev/mapper/vg-data rw\n"
        f"24 22 0:50 / {tmp_path}/vault rw - fuse.gocryptfs /cipher rw\n",
        "utf-8",
    )
    volume, disk = tmp_path / "dev/253:1", tmp_path / "dev/253:0"
    for device, uuid in ((volume, "LVM-abc"), (disk, "CRYPT-LUKS2-def")):
        (device / "dm").mkdir(parents=True)
        (device / "dm/uuid").write_text(uuid, "ascii")
    (volume / "slaves").mkdir()
    (volume / "slaves/dm-0").symlink_to(disk)
    for name in ("data/site", "vault", "plain"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("place", "means"), [("data/site", "dm-crypt (LUKS)"), ("vault", "gocryptfs"), ("plain", None)]
)
def test_encryption_of_the_disk_is_seen_through_mounts_and_volumes(
    machine: Path, place: str, means: str | None
) -> None:
    assert encrypted_by(machine / place, proc=machine / "proc", devices=machine / "dev") == means
