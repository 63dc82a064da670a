"""sslyze judges our TLS by Mozilla's intermediate configuration."""

from pathlib import Path

from tests.attacks.certificate import ADDRESS
from tests.attacks.conftest import TwinServer
from tests.attacks.target import Target
from tests.attacks.tools import Said, scan

SECONDS = 300


def judge(port: int, authority: Path, cwd: Path) -> Said:
    """Scan one port."""
    chosen = ("--mozilla_config=intermediate", f"--certinfo_ca_file={authority}", f"{ADDRESS}:{port}")
    return scan("sslyze", "python", "-m", "sslyze", *chosen, cwd=cwd, seconds=SECONDS)


def test_our_tls_complies_with_mozillas_intermediate_configuration(target: Target, tmp_path: Path) -> None:
    said = judge(target.port, target.certified.authority, tmp_path)
    assert f"{ADDRESS}:{target.port}: OK - Compliant." in said.text, said.text[-3000:]
    assert said.status == 0


def test_weak_suites_and_curves_of_the_twin_are_found(twin: TwinServer, tmp_path: Path) -> None:
    said = judge(twin.tls_port, twin.authority, tmp_path)
    assert f"{ADDRESS}:{twin.tls_port}: FAILED - Not compliant." in said.text
    assert "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" in said.text
    assert "tls_curves" in said.text
    assert said.status != 0
