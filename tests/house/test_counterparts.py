"""A program that a test speaks with is found, installed, or asked for by name; a test is never quietly left out."""

from pathlib import Path

import pytest

from tests.counterparts import NEWER, CounterpartMissing, require_debian, require_python

APT = """#!/bin/sh
echo "$@" >> "{folder}/asked"
case "$1" in
  install) [ -e "{folder}/broken" ] && {{ echo "no space left" >&2; exit 100; }}
           printf '#!/bin/sh\\n' > "{folder}/quacker"; chmod +x "{folder}/quacker" ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine whose apt-get writes down what it is asked, and knows one program: quacker."""
    apt = tmp_path / "apt-get"
    apt.write_text(APT.format(folder=tmp_path), "utf-8")
    apt.chmod(0o755)
    return tmp_path


def ask(machine: Path, *, as_root: bool = True, package: str = "quack", binary: str = "quacker") -> Path:
    """Ask for a program on that machine."""
    path = {"PATH": f"{machine}:/bin"}
    return require_debian(package, binary=binary, as_root=as_root, environment=path)


def test_a_program_that_is_there_is_not_installed_again(machine: Path) -> None:
    (machine / "quacker").write_text("#!/bin/sh\n", "utf-8")
    (machine / "quacker").chmod(0o755)
    assert ask(machine) == machine / "quacker"
    assert not (machine / "asked").exists()


def test_root_gets_a_missing_program_installed_after_the_lists_were_renewed(machine: Path) -> None:
    assert ask(machine) == machine / "quacker"
    update, install = (machine / "asked").read_text("utf-8").splitlines()
    assert update.startswith("update ")
    assert install.startswith("install --yes ")
    assert install.endswith(" quack")


def test_an_ordinary_user_is_told_what_to_type(machine: Path) -> None:
    with pytest.raises(
        CounterpartMissing, match=r"Type: sudo sh -c 'apt-get update && apt-get install --yes .* quack'"
    ):
        ask(machine, as_root=False)
    assert not (machine / "asked").exists()


def test_an_installation_that_fails_says_so_with_what_was_said(machine: Path) -> None:
    (machine / "broken").touch()
    with pytest.raises(CounterpartMissing, match=r"(?s)install failed.*no space left"):
        ask(machine)


def test_a_package_without_the_program_is_reported(machine: Path) -> None:
    with pytest.raises(CounterpartMissing, match="brought no barker"):
        ask(machine, binary="barker")


def test_a_package_that_needs_a_newer_python_asks_for_it_by_name(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NEWER, "django-crm", ((9, 9),))
    shim = machine / "python9.9"
    shim.write_text("#!/bin/sh\nexit 127\n", "utf-8")
    shim.chmod(0o755)
    environment = {"PATH": f"{machine}:/bin", "PYENV_ROOT": str(machine), "XDG_CACHE_HOME": str(machine)}
    with pytest.raises(CounterpartMissing, match=r"django-crm needs Python 9\.9.*Type: uv python install 9\.9"):
        require_python("django-crm", version="1", environment=environment)
