"""A full disk stops the writing and loses nothing of what was written."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

from tests.rooms.app.engines import disk_full, stage

ROOT = Path(__file__).parents[4]


def test_a_full_disk_loses_no_acknowledged_row_and_a_larger_one_is_served_at_once(
    template: Path, tmp_path: Path
) -> None:
    """An ordinary user becomes root of a user namespace first, to be permitted to mount."""
    own = ["--mount"] if os.geteuid() == 0 else ["--mount", "--user", "--map-root-user"]
    done = subprocess.run(
        ["unshare", *own, "--", sys.executable, str(disk_full.__file__), str(tmp_path), str(template)],  # noqa: S607  found by PATH
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join([str(stage.SOURCE), str(stage.SITE), str(ROOT)]),
            "LD_LIBRARY_PATH": stage.LIBRARIES,
        },
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        timeout=80,
        check=True,
        text=True,
    )
    told = cast("dict[str, object]", json.loads(done.stdout))
    assert "No space left on device" in str(told["refusal"]) or "server closed the connection" in str(told["refusal"])
    acknowledged, kept = cast("int", told["acknowledged"]), cast("list[int]", told["kept"])
    assert acknowledged > 10
    assert kept[:acknowledged] == list(range(acknowledged))
    assert len(kept) <= acknowledged + 1
    assert told["health"] == {"postgres": "healthy", "valkey": "healthy"}
