"""QR codes are read by a reader that knows nothing of how they were drawn."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from isthmus.auth.people.totp import enrolment_url
from isthmus.console.me.qr import TooLong, qr_grid, qr_svg
from tests.counterparts import require_npm

LENGTHS = (1, 14, 15, 26, 27, 62, 63, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412)
URL = enrolment_url("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", account="ada@exämple.com", workspace="Northwind: Bridges")


def test_a_reader_reads_what_was_drawn_in_every_version() -> None:
    root = require_npm({"jsqr": "1.4.0"})
    script = root / "read-qr.mjs"
    shutil.copyfile(Path(__file__).with_name("read_qr.mjs"), script)
    texts = [("otpauth://totp/" + "aZ09" * 120)[:length] for length in LENGTHS] + [URL]
    drawn = json.dumps([qr_grid(each.encode()) for each in texts])
    done = subprocess.run(["node", str(script)], input=drawn, capture_output=True, text=True, check=True)  # noqa: S607 - node is found as the tests' other programs are.
    assert json.loads(done.stdout) == texts


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(TooLong):
        qr_grid(bytes(413))


def test_the_drawing_is_named_and_has_no_style_of_its_own() -> None:
    drawn = qr_svg(URL, label="QR code")
    assert 'role="img" aria-label="QR code"' in drawn
    assert "style" not in drawn
