"""Importing files at the command line: tried dry, mapped by name and by option, told by row."""

from pathlib import Path

import pytest

from tests.rooms.app.cli.conftest import Shell

LEADS = """Id,E-Mail,First Name,Last Name,Company,Shoe size
1,ann@acme.example,Ann,Miller,Acme,38
2,bob@acme.example,Bob,Stone,Acme,44
3,not an address,Cy,Void,Acme,41
"""
COUNTS = "select count(*) as leads from sales_lead"


@pytest.fixture
def leads(shell: Shell) -> Path:
    """A file of three leads, one of them broken."""
    path = shell.here / "leads.csv"
    path.write_text(LEADS, "utf-8")
    return path


def count(shell: Shell) -> int:
    """Return how many leads are held."""
    return int(str(shell("query", COUNTS, "--json").rows[0]["leads"]))


def test_a_dry_run_checks_every_row_and_stores_none(shell: Shell, leads: Path) -> None:
    said = shell("import", str(leads), "--type", "sales.lead", "--dry-run", "--json")
    tried = said.row
    assert (tried["rows"], tried["good"], tried["rejected"], tried["system"]) == (3, 2, 1, "leads")
    assert tried["left_out"] == ["Shoe size"]
    assert tried["id_column"] == "Id"
    table = shell("import", str(leads), "--type", "sales.lead", "--dry-run")
    assert "line 4: /email" in table.err
    assert "nothing was stored" in table.err
    assert count(shell) == 0


def test_rows_arrive_once_and_what_is_broken_is_kept_with_its_line(shell: Shell, leads: Path) -> None:
    said = shell("import", str(leads), "--type", "sales.lead", "--save-mapping", "fair", "--json").row
    run = said["run"]
    assert isinstance(run, dict)
    assert (run["created"], run["rejected"], run["status"]) == (2, 1, "degraded")
    assert str(said["reasons"]).startswith("['Line 4: /email")
    again = shell("import", str(leads), "--mapping", "fair")
    assert "leads.csv" in again.out
    assert "columns left out: Shoe size" in again.err
    assert count(shell) == 2
    (rejected,) = shell("sync", "rejected", "--system", "leads", "--rows", "--json").rows
    assert rejected["external_id"] == "3"
    assert shell("sync", "retry", "leads", "--json").row == {"stored": 0, "left": 1}


def test_a_mapping_comes_from_a_file_and_options_stand_over_it(shell: Shell, leads: Path) -> None:
    mapping = shell.here / "fair.toml"
    mapping.write_text(
        """type = "sales.lead"
system = "fair"
id_column = "Id"
[fields]
email = { column = "E-Mail", transforms = ["trim", "upper"] }
first_name = "First Name"
last_name = { constant = "Unknown" }
company = "Company"
""",
        "utf-8",
    )
    arguments = ("import", str(leads), "--mapping", str(mapping), "--dry-run", "--json")
    tried = shell(*arguments, "--map", "Last Name=last_name").row
    assert (tried["system"], tried["good"]) == ("fair", 2)
    assert tried["fields"] == {
        "email": "E-Mail",
        "first_name": "First Name",
        "last_name": "Last Name",
        "company": "Company",
    }
    mapping.write_text(mapping.read_text("utf-8").replace("transforms", "transfroms"), "utf-8")
    assert "there is no key fields.email.transfroms" in shell(*arguments, code=1).err


def test_what_does_not_fit_is_said_before_anything_is_stored(shell: Shell, leads: Path) -> None:
    file = str(leads)
    assert "There is no file" in shell("import", "nowhere.csv", "--type", "sales.lead", code=3).err
    assert "--type" in shell("import", file, code=2).err
    assert "has no field 'shoe'" in shell("import", file, "--type", "sales.lead", "--map", "Shoe size=shoe", code=1).err
    misspelt = shell("import", file, "--type", "sales.lead", "--map", "email=emial", code=1).err
    assert "has no field 'emial'; the nearest is 'email'" in misspelt
    assert "--map COLUMN=FIELD" in misspelt
    assert "No column gives 'name'" in shell("import", file, "--type", "sales.deal", code=1).err
    assert "There is no mapping" in shell("import", file, "--mapping", "nothing", code=3).err
    assert count(shell) == 0


def test_an_import_of_which_nothing_can_be_stored_fails(shell: Shell) -> None:
    cut = shell.here / "cut.csv"
    cut.write_text('Id,E-Mail,First Name,Last Name,Company\n1,"ann@acme.exam', "utf-8")
    said = shell("import", str(cut), "--type", "sales.lead", code=1)
    assert "the file is cut off here" in said.err
    assert count(shell) == 0
