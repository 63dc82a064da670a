"""What files are said to be, rows as they lie in files in our words and back, and the wire formats as bytes."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from isthmus.connectors.files import CONNECTOR
from isthmus.connectors.files.cursor import Going, Place, Seen
from isthmus.connectors.files.layouts import FilesRefused, drops_of
from isthmus.connectors.files.mapping import LineUnreadable
from isthmus.connectors.files.packets import NotSftp, Reading, Told, packet, text, u32, u64
from isthmus.connectors.files.places import named, where
from isthmus.connectors.files.reading import Rows, joined
from isthmus.connectors.files.secure_shell import known_hosts
from isthmus.connectors.files.signing import Keys, Request, query_of, signed
from isthmus.connectors.files.writing import files_of, refusal, row_of
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, Connector, ConnectorError, Raw

HERE = Path(__file__).parent
INVOICES = """
[invoices]
type = "finance.invoice"
match = "in/invoices-*.csv"
key = ["branch", "number"]
updated_at = "changed"
deleted = "void"
zone = "Europe/Brussels"
decimal = ","
[invoices.fields]
number = "number"
amount = { column = "total", currency = "EUR" }
issued_on = { column = "day", form = "day", format = "%d/%m/%Y" }
"""
CUSTOMERS = """
[customers]
type = "sales.account"
match = "customers-*.ndjson"
key = "id"
deleted = "gone"
write = "outgoing"
format = "FORMAT"
decimal = "DECIMAL"
[customers.fields]
name = "name"
annual_revenue = { column = "revenue", currency = "EUR" }
"""


def adapted(files: str = INVOICES) -> Connector:
    return CONNECTOR.adapted({"files": files})


def customers(*, format_: str = "ndjson", decimal: str = ".") -> str:
    return CUSTOMERS.replace("FORMAT", format_).replace("DECIMAL", decimal)


def recorded() -> list[Raw]:
    return msgspec.json.decode((HERE / "fixtures" / "invoices.json").read_bytes(), type=list[Raw])


def change(**more: object) -> Change:
    given: dict[str, object] = {"record_id": UUID(int=1), "type": "sales.account", "fields": {}, "key": "k1"}
    return msgspec.convert(given | more, Change)


def test_the_rows_of_a_file_are_read_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "invoices-1.csv"
    path.write_bytes((HERE / "fixtures" / "invoices-1.csv").read_bytes())
    [rows] = Rows(drops_of(INVOICES)["invoices"], "in/invoices-1.csv", path).batches()
    assert rows == recorded()


def test_a_row_is_said_in_our_words() -> None:
    first, *_ = recorded()
    [word] = list(adapted().normalise("invoices", first))
    assert (word.external_id, word.type) == ("BE|7", "finance.invoice")
    assert word.fields == {
        "number": "7",
        "amount": {"amount": "1234.50", "currency": "EUR"},
        "issued_on": "2026-07-01",
    }
    assert word.at == datetime(2026, 7, 1, 10, tzinfo=UTC), "a time without a zone is of the layout's"


def test_a_row_that_is_marked_is_gone() -> None:
    assert [raw.external_id for raw in recorded() if raw.deleted] == ["BE|8"]


def test_a_line_that_cannot_be_read_tells_its_number_and_its_cause() -> None:
    causes: list[str] = []
    for raw in recorded():
        if not raw.deleted and raw.version is None:
            with pytest.raises(LineUnreadable) as caught:
                list(adapted().normalise("invoices", raw))
            causes.append(caught.value.detail)
    assert [cause.partition(": ")[0] for cause in causes] == [
        "Line 6 of in/invoices-1.csv",
        "Line 7 of in/invoices-1.csv",
        "Line 8 of in/invoices-1.csv",
    ]
    assert "its key branch is empty" in causes[0]
    assert "2 of 6 cells" in causes[1]
    assert "not utf-8" in causes[2]


def test_a_key_of_many_columns_is_told_from_one_that_looks_alike() -> None:
    assert joined(["a|b", "c"]) != joined(["a", "b|c"])
    assert joined(["a|b"]) == "a|b"


def test_what_is_written_is_what_was_read() -> None:
    connector = adapted(customers(decimal=","))
    fields: dict[str, Json] = {"name": "Lamps", "annual_revenue": {"amount": "1234.50", "currency": "EUR"}}
    said = connector.express("customers", change(fields=fields))
    assert said == {"name": "Lamps", "revenue": "1234,50"}
    [word] = connector.normalise("customers", Raw(external_id="1", body={"id": "1", **said}))
    assert word.fields == fields


def test_a_batch_is_one_file_of_ndjson_and_says_only_what_changed() -> None:
    drop = drops_of(customers())["customers"]
    changes = [change(external_id="7", fields={"name": None}), change(external_id="8", deleted=True, key="k2")]
    [(tail, content)] = files_of(drop, "customers", [(each, row_of(drop, each)[1]) for each in changes])
    assert [json.loads(line) for line in content.splitlines()] == [{"id": "7", "name": None}, {"id": "8", "gone": True}]
    assert tail.startswith("customers-")
    assert tail.endswith(".ndjson")


@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_a_batch_is_a_file_for_each_set_of_columns_where_a_file_has_no_gaps(format_: str) -> None:
    drop = drops_of(customers(format_=format_))["customers"]
    changes = [
        change(external_id="7", fields={"name": 'A, "b"\n'}),
        change(external_id="8", fields={"name": None}, key="k2"),
        change(external_id="9", fields={"annual_revenue": {"amount": "1", "currency": "EUR"}}, key="k3"),
        change(external_id="10", deleted=True, key="k4"),
    ]
    files = files_of(drop, "customers", [(each, row_of(drop, each)[1]) for each in changes])
    assert len({tail for tail, _ in files}) == len(files) == 3
    assert [tail.rpartition(".")[2] for tail, _ in files] == [format_] * 3
    if format_ == "csv":
        assert files[0][1] == b'id,name\n7,"A, ""b""\n"\n8,\n'
        assert files[2][1] == b"id,gone\n10,true\n"


def test_the_same_changes_make_the_same_file_and_others_another() -> None:
    drop = drops_of(customers())["customers"]

    def made(*changes: Change) -> list[tuple[str, bytes]]:
        return files_of(drop, "customers", [(each, row_of(drop, each)[1]) for each in changes])

    one, other = change(fields={"name": "A"}), change(fields={"name": "A"}, key="k2")
    assert made(one) == made(one)
    assert made(one)[0][0] != made(other)[0][0]
    assert row_of(drop, one)[0] != row_of(drop, other)[0], "two new records have two keys"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (change(fields={"annual_revenue": {"amount": "1", "currency": "USD"}}), "in EUR"),
        (change(deleted=True), "never was there"),
    ],
)
def test_a_change_that_cannot_be_written_is_refused_in_words(wanted: Change, why: str) -> None:
    assert why in refusal(drops_of(customers())["customers"], "customers", wanted)


def test_a_deletion_needs_a_column_that_marks_it() -> None:
    drop = drops_of(customers().replace('deleted = "gone"\n', ""))["customers"]
    assert "no column that marks" in refusal(drop, "customers", change(external_id="1", deleted=True))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('match = "in/invoices-*.csv"', 'match = "in/*"', "ends in one of"),
        ('match = "in/invoices-*.csv"', 'match = "../a.csv"', "lies below the place"),
        ('match = "in/invoices-*.csv"', 'match = "/a.csv"', "lies below the place"),
        ('key = ["branch", "number"]', "key = []", "name one column"),
        ('key = ["branch", "number"]', 'key = ["branch", "number"]\nwrite = "out"', "a key of one column"),
        ('decimal = ","', 'absent = "deleted"', 'needs `reads = "newest"`'),
        ('decimal = ","', 'reads = "newest"\npartial = true', "cannot be partial"),
        ('decimal = ","', 'delimiter = "::"', "one character"),
        ('type = "finance.invoice"', 'type = "finance.bill"', "no record type"),
        ('decimal = ","', "mode = 1", "unknown field"),
        ("[invoices", "[in.voices", "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_words(old: str, new: str, words: str) -> None:
    with pytest.raises(FilesRefused) as caught:
        adapted(INVOICES.replace(old, new))
    assert words in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("in/invoices-1.csv", True),
        ("in/invoices-1.csv.part", False),
        ("in/old/invoices-1.csv", False),
        ("in/.invoices-1.csv", False),
        ("invoices-1.csv", False),
    ],
)
def test_names_are_matched_to_their_end_and_stars_stop_at_slashes(name: str, *, taken: bool) -> None:
    assert drops_of(INVOICES)["invoices"].takes(name) is taken


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"where": "s3://a/b", "folder": "/srv"},
        {"folder": "srv"},
        {"where": "ftp://a/b"},
        {"where": "sftp://files.example/in"},
        {"where": "sftp://me:secret@files.example/in"},
        {"where": "s3://b?x=1"},
    ],
)
def test_a_place_that_is_none_is_refused_with_a_fix(settings: dict[str, str]) -> None:
    with pytest.raises(ConnectorError) as caught:
        where(settings)
    assert caught.value.fix
    assert "secret@" not in str(caught.value)


def test_names_sort_as_they_were_given_whatever_the_clock_there_does() -> None:
    at = datetime(2026, 11, 23, 20, 25, 1, tzinfo=UTC)
    first = named("outgoing", at, "a.csv", after="")
    second = named("outgoing", at, "b.csv", after=first)
    third = named("outgoing", at.replace(year=2020), "a.csv", after=second)
    assert first == "outgoing/isthmus-20261123T202501.000000Z-a.csv"
    assert first < second < third
    assert named("", at, "a.csv", after="") == "isthmus-20261123T202501.000000Z-a.csv"


def test_a_cursor_comes_back_as_it_was_and_another_is_refused() -> None:
    place = Place(files={"a": Seen(stamp="1", size=2)}, going=Going(name="b", stamp="2", taken=3), mapped="m")
    assert Place.parse(place.text()) == place
    with pytest.raises(ConnectorError):
        Place.parse('{"at": 1}')


def test_host_keys_are_pinned_and_anything_else_is_refused() -> None:
    assert known_hosts("ssh-ed25519 AAAAC3Nz\n\nssh-rsa AAAAB3 me@there\n").count("isthmus-host ssh-") == 2
    for wrong in ("", "files.example ssh-ed25519 AAAA", "ssh-ed25519 AAAA\n* ssh-rsa"):
        with pytest.raises(ConnectorError):
            known_hosts(wrong)


def test_a_request_is_signed_as_the_documentation_of_s3_signs_its_example() -> None:
    # The example "GET Object" has a Range as well, which we do not sign; that of listing signs what we sign.
    keys = Keys(key_id="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    request = Request(
        method="GET", host="examplebucket.s3.amazonaws.com", path="/", query=[("prefix", "J"), ("max-keys", "2")]
    )
    told = signed(request, keys, region="us-east-1", now=datetime(2013, 5, 24, tzinfo=UTC))
    assert told["Authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


def test_a_query_is_signed_in_order_and_encoded() -> None:
    assert query_of([("prefix", "a b/é"), ("list-type", "2")]) == "list-type=2&prefix=a%20b%2F%C3%A9"


def test_packets_of_sftp_come_back_as_they_went() -> None:
    sent = packet(104, u32(1), text("ü.csv"), text("long"), u32(0x0D), u64(7), u32(0o100644), u32(1), u32(2))
    reading = Reading(sent[4:])
    assert int.from_bytes(sent[:4]) == len(sent) - 4
    assert reading.names() == [("ü.csv", Told(size=7, rights=0o100644, changed=2))]


@pytest.mark.parametrize("body", [b"", b"\x68\x00\x00", b"\x68\x00\x00\x00\x01\x00\x00\x00\x09abc"])
def test_bytes_that_are_no_packet_are_refused(body: bytes) -> None:
    with pytest.raises(NotSftp):
        Reading(body).names()
