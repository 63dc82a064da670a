"""The text of `postgresql.conf` and `pg_hba.conf`: durable, private, and sized for a laptop unless there is more."""

import os
from pathlib import Path

PORT = 5432
"""Only the socket's name contains it: nothing listens on TCP."""
MEBIBYTE = 2**20
SMALLEST_SHARED_MEMORY = 512 * MEBIBYTE
HAS_SLOT_TIMEOUT = 18

HBA = """\
# Written by isthmus at every start. Passwords only: no entry lets anybody in without one.
local all all scram-sha-256
local replication all scram-sha-256
"""


def postgresql_conf(*, major: int, sockets: str, disk_bytes: int = 0) -> str:
    """Return the settings of the embedded server, whose socket lies in the directory `sockets`.

    `disk_bytes` is the size of the disk it writes to, free or not, so that the settings stay the same.
    """
    settings = {**_reach(sockets), **_memory(), **_durability(disk_bytes), **_silence()}
    if major >= HAS_SLOT_TIMEOUT:
        settings["idle_replication_slot_timeout"] = "2d"
    lines = [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    return "\n".join(["# Written by isthmus at every start; ALTER SYSTEM overrides it.", *lines, ""])


def _quoted(value: str) -> str:
    doubled = value.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def _reach(sockets: str) -> dict[str, str]:
    only_one = sockets.replace('"', '""')
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": f'"{only_one}"',
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        "max_connections": "100",
        "timezone": "UTC",
        "client_encoding": "UTF8",
    }


def _memory() -> dict[str, str]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MEBIBYTE
    shared = Path("/dev/shm")  # noqa: S108  PostgreSQL places shared memory there by itself
    roomy = shared.is_dir() and os.statvfs(shared).f_bavail * os.statvfs(shared).f_frsize >= SMALLEST_SHARED_MEMORY
    return {
        "shared_buffers": f"{min(max(total // 8, 128), 1024)}MB",
        "effective_cache_size": f"{max(total // 2, 256)}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "huge_pages": "off",
        "dynamic_shared_memory_type": "posix" if roomy else "mmap",
        "random_page_cost": "1.1",
        "jit": "off",
        # A workspace that fills up is planned for by what it holds now, and not by what it held a minute ago.
        "autovacuum_naptime": "10s",
    }


def _durability(disk_bytes: int) -> dict[str, str]:
    # A load of a million rows writes 2 GB of log; each checkpoint within it makes every page of an index count twice.
    wal_mib = min(max(disk_bytes // MEBIBYTE // 32, 1024), 8192)
    return {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "wal_level": "logical",
        "wal_compression": "pglz",
        "max_wal_size": f"{wal_mib}MB",
        "min_wal_size": "128MB",
        "max_slot_wal_keep_size": "2GB",
        "max_wal_senders": "8",
        "max_replication_slots": "8",
        "checkpoint_timeout": "15min",
        "checkpoint_completion_target": "0.9",
        "restart_after_crash": "on",
    }


def _silence() -> dict[str, str]:
    """Return logging without a single value of a row: errors of statements go to the client and nowhere else."""
    return {
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] ",
        "log_timezone": "UTC",
        "log_error_verbosity": "terse",
        "log_min_messages": "log",
        "log_min_error_statement": "panic",
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_checkpoints": "off",
    }
