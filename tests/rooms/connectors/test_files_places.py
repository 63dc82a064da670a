"""Files in a folder, in a bucket of moto's server of S3 and on OpenSSH's server of SFTP: read, and handed over."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import cast
from uuid import UUID

import duckdb
import pytest
from aiohttp import web

from isthmus.connectors.files import CONNECTOR, s3
from isthmus.connectors.files.reading import Columns, FileBroken
from isthmus.kernel.marks import Json
from isthmus.sync.connector import Change, ConnectorError, FeedTrouble, KeyRefused, Outcome, Page, Raw, Session
from tests.rooms.connectors.files_side import (
    BucketSide,
    LocalSide,
    Side,
    bucket,
    local,
    new_key,
    packed,
    server_of_sftp,
)

PEOPLE = """
[people]
type = "sales.person"
match = "{folder}/people-*{ending}"
key = "id"
deleted = "gone"
{more}
[people.fields]
last_name = "name"
"""
FOLDERS = count(1)
HEAD = "id,name,gone\n"


@pytest.fixture(scope="session")
def sftp_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSide]:
    """OpenSSH's server of SFTP."""
    with server_of_sftp(tmp_path_factory.mktemp("sftp")) as side:
        yield side


@pytest.fixture(scope="session")
def s3_side() -> Iterator[BucketSide]:
    """A server of S3, moto's."""
    with bucket() as side:
        yield side


@pytest.fixture(params=["folder", "sftp", "s3"])
def side(request: pytest.FixtureRequest, tmp_path: Path) -> Side:
    """Each kind of place."""
    if request.param == "folder":
        return local(tmp_path)
    return cast("Side", request.getfixturevalue(f"{request.param}_side"))


class Drop:
    """Files of people in a folder of their own, of a place that other tests may use as well."""

    def __init__(self, side: Side, more: str = "", *, ending: str = ".csv", **settings: str) -> None:
        self.side, self.folder = side, f"f{next(FOLDERS)}"
        files = PEOPLE.format(folder=self.folder, ending=ending, more=more.format(folder=self.folder))
        self.settings = {"quiet_s": "0", "files": files, **side.settings, **settings}
        self.connector = CONNECTOR.adapted(self.settings)
        self.cursor: str | None = None

    def put(self, name: str, content: str | bytes) -> None:
        """Put a file there."""
        self.side.write(f"{self.folder}/{name}", content.encode() if isinstance(content, str) else content)

    def opened(self) -> AbstractAsyncContextManager[Session]:
        """Open a session."""
        return self.connector.open(self.settings)

    async def pages(self) -> list[Page]:
        """Read on from where the last reading ended."""
        async with self.opened() as session:
            found = [page async for page in session.read("people", cursor=self.cursor)]
        self.cursor = found[-1].cursor
        return found

    async def read(self) -> dict[str, object]:
        """Read on; returns names by key, nothing for deleted ones, and causes for what cannot be read."""
        return _told([row for page in await self.pages() for row in page.rows])

    async def ids(self) -> list[str]:
        """Return the keys of what lies there."""
        async with self.opened() as session:
            return [each async for some in session.ids("people") for each in some]

    async def write(self, *changes: Change) -> list[Outcome]:
        """Hand changes over."""
        async with self.opened() as session:
            return [each.outcome for each in await session.write("people", changes)]

    def given(self) -> dict[str, bytes]:
        """Return what was handed over, by name."""
        names = [each for each in self.side.names() if each.startswith(f"{self.folder}/outgoing/")]
        return {name: self.side.read(name) for name in names}


def _told(rows: Sequence[Raw]) -> dict[str, object]:
    return {
        row.external_id: None if row.deleted else row.body.get("isthmus:unreadable") or row.body["name"] for row in rows
    }


def change(number: str | None, key: str = "k1", *, deleted: bool = False, **fields: Json) -> Change:
    return Change(
        record_id=UUID(int=1), type="sales.person", fields=fields, external_id=number, key=key, deleted=deleted
    )


async def test_what_is_new_grew_and_was_replaced_is_read_rightly(side: Side) -> None:
    drop = Drop(side)
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n2,Bo,\n")
    drop.put("people-2.csv", f"{HEAD}1,Ada again,\n")
    assert await drop.read() == {"1": "Ada again", "2": "Bo"}, "files are read in the order of their names"
    assert await drop.read() == {}
    drop.put("people-1.csv", f'{HEAD}1,Ada,\n2,Bo,\n3,"Cy\nTwo",\n4,x\n')
    found = await drop.read()
    assert found.pop("3") == "Cy\nTwo"
    assert list(found) == [f"{drop.folder}/people-1.csv:6"], "only what is behind the last line was read"
    drop.put("people-1.csv", f"{HEAD}1,Abe,\n2,Bob,\n3,Cy,\n4,Di,\n5,Ed,yes\n")
    found = await drop.read()
    assert found.pop(f"{drop.folder}/people-1.csv:6") is None, "the line that could not be read is there no more"
    assert found == {"1": "Abe", "2": "Bob", "3": "Cy", "4": "Di", "5": None}
    assert await drop.ids() == ["1", "2", "3", "4"]


async def test_changes_are_handed_over_as_files_whose_names_sort(side: Side) -> None:
    drop = Drop(side, 'write = "{folder}/outgoing"')
    assert await drop.write(change("7", last_name="É"), change(None, "k2", last_name="New")) == [Outcome.WRITTEN] * 2
    [(first, content)] = drop.given().items()
    assert [json.loads(line)["name"] for line in content.splitlines()] == ["É", "New"]
    await drop.write(change("8", "k3", deleted=True))
    before = drop.given()
    assert json.loads(before[max(before)]) == {"id": "8", "gone": True}
    assert min(before) == first, "what is handed over later sorts behind"
    await drop.write(change("7", last_name="É"), change(None, "k2", last_name="New"))
    assert drop.given() == before, "a repeated attempt writes the same file again"
    assert await drop.read() == {}, "what we write is not read"


async def test_names_with_odd_letters_are_found_and_small_files_share_a_page(side: Side) -> None:
    drop = Drop(side)
    for number in range(3):
        drop.put(f"people-{number} ü+&=%2F'(!)*~.csv", f"{HEAD}{number},N,\n")
    page, last = await drop.pages()
    assert (set(_told(page.rows)), last.rows) == ({"0", "1", "2"}, ())


async def test_large_files_come_whole_in_parts(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", 1 << 18)
    drop = Drop(side, ending=".ndjson", page_rows="5000")
    rows = 20_000
    drop.put("people-1.ndjson", "".join(f'{{"id":"{n}","name":"{"n" * 30}{n}"}}\n' for n in range(rows)))
    drop.settings["files"] = drop.settings["files"].replace('deleted = "gone"\n', "")
    found = await drop.read()
    assert len(found) == rows
    assert found["19999"] == f"{'n' * 30}19999"


async def test_the_check_says_where_it_is_and_how_many_files_there_are(side: Side) -> None:
    drop = Drop(side)
    drop.put("people-1.csv", HEAD)
    async with drop.opened() as session:
        said = await session.check()
    assert "people becomes sales.person from 1 files, the last is" in said
    for given in (side.settings, side.wrong):
        assert not any(secret in said for name, secret in given.items() if name in ("key", "secret_key"))


async def test_compressed_files_and_parquet_of_another_program_are_read(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path), ending=".csv.gz")
    drop.put("people-1.csv.gz", packed(f"{HEAD}1,Ada,\n"))
    assert await drop.read() == {"1": "Ada"}
    drop.put("people-1.csv.gz", packed(f"{HEAD}1,Ada,\n2,Bo,\n")[:-9])
    with pytest.raises(FileBroken, match="gzip"):
        await drop.read()
    columns = Drop(local(tmp_path / drop.folder), ending=".parquet")
    path = tmp_path / "made.parquet"
    rows = "(7::bigint, 'Zoë', false), (8, null, null), (9, 'x', true)"
    query = f"copy (select * from (values {rows}) as people(id, name, gone)) to '{path}' (format parquet)"  # noqa: S608 - all of it is ours.
    duckdb.execute(query)
    columns.put("people-1.parquet", path.read_bytes())
    assert await columns.read() == {"7": "Zoë", "8": None, "9": None}
    assert await columns.ids() == ["7", "8"]


async def test_a_file_that_is_still_written_waits_and_so_do_those_behind_it(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path), quiet_s="0.05")
    for number in range(3):
        drop.put(f"people-{number}.csv", f"{HEAD}{number},N,\n")
    path = tmp_path / "drop" / drop.folder / "people-1.csv"
    written = 0

    async def leave() -> None:
        """Go on writing whenever leave is asked, as it is before the folder is looked at."""
        nonlocal written
        written += 1
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{written}9,More,\n")

    async with drop.connector.open(drop.settings, leave=leave) as session:
        found = [page async for page in session.read("people", cursor=None)]
    assert set(_told([row for page in found for row in page.rows])) == {"0"}
    assert "people-1.csv is still being written" in found[-1].note
    drop.cursor = found[-1].cursor
    assert {"1", "2"} <= set(await drop.read())


async def test_a_file_that_goes_deletes_nothing_and_comes_back_as_new(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path))
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n")
    await drop.read()
    (tmp_path / "drop" / drop.folder / "people-1.csv").rename(tmp_path / "away")
    assert await drop.read() == {}
    assert not drop.connector.feeds[0].deletes, "so that nobody compares ids"
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n")
    assert await drop.read() == {"1": "Ada"}


async def test_the_newest_file_can_be_everything_there_is(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path), 'reads = "newest"\nabsent = "deleted"')
    with pytest.raises(FeedTrouble, match="No file matches"):
        await drop.ids()
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n2,Bo,\n")
    drop.put("people-2.csv", f"{HEAD}2,Bo,\n3,Cy,\n")
    found = await drop.pages()
    assert _told([row for page in found for row in page.rows]) == {"2": "Bo", "3": "Cy"}
    assert (found[-1].emptied, await drop.ids()) == (True, ["2", "3"])
    assert not (await drop.pages())[-1].emptied, "a file that was read already is compared no second time"
    drop.put("people-3.csv", f"{HEAD}2,Bo,\n3\n")
    last = (await drop.pages())[-1]
    assert not last.emptied
    assert "The newest file has lines that cannot be read" in last.note
    with pytest.raises(FeedTrouble, match="Line 3"):
        await drop.ids()
    drop.put("people-4.csv", "")
    with pytest.raises(FileBroken, match="is empty"):
        await drop.pages()


async def test_a_file_with_other_columns_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path))
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n")
    drop.put("people-2.csv", "id,label\n2,Bo\n")
    async with drop.opened() as session:
        reading = aiter(session.read("people", cursor=None))
        page = await anext(reading)
        with pytest.raises(Columns, match="has no column gone, name; it has id, label"):
            await anext(reading)
    assert _told(page.rows) == {"1": "Ada"}, "what stands before it is read"
    drop.cursor = page.cursor
    drop.put("people-2.csv", f"{HEAD}2,Bo,\n")
    assert await drop.read() == {"2": "Bo"}


async def test_a_row_that_says_less_needs_to_be_allowed_to(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path), ending=".ndjson")
    drop.put("people-1.ndjson", b'\xef\xbb\xbf{"id": 1, "name": "Ada"}\n{"id": 2}\n{"id": 3, "gone": true}\n[]\n')
    found = await drop.read()
    assert (found.pop("1"), found.pop("3")) == ("Ada", None)
    assert "it lacks name" in str(found.pop(f"{drop.folder}/people-1.ndjson:2"))
    assert "not a JSON object" in str(found.pop(f"{drop.folder}/people-1.ndjson:4"))
    partial = Drop(local(tmp_path / drop.folder), "partial = true", ending=".ndjson")
    partial.put("people-1.ndjson", '{"id": 2}\n')
    async with partial.opened() as session:
        [row] = [row async for page in session.read("people", cursor=None) for row in page.rows]
    [word] = partial.connector.normalise("people", row)
    assert word.fields == {}, "what is not named is not cleared"


async def test_what_is_mapped_otherwise_is_read_from_the_beginning(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path))
    drop.put("people-1.csv", f"{HEAD}1,Ada,\n")
    await drop.read()
    drop.settings["files"] = drop.settings["files"].replace("last_name", "first_name")
    assert await drop.read() == {"1": "Ada"}


async def test_links_that_lead_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    drop = Drop(local(tmp_path))
    drop.put("people-1.csv", HEAD)
    (tmp_path / "secret.csv").write_text(f"{HEAD}9,Secret,\n", "utf-8")
    (tmp_path / "drop" / drop.folder / "people-2.csv").symlink_to(tmp_path / "secret.csv")
    assert await drop.read() == {}


async def test_another_host_key_is_refused_before_anything_is_sent(sftp_side: LocalSide) -> None:
    drop = Drop(sftp_side, **sftp_side.wrong)
    with pytest.raises(ConnectorError, match="shows another host key"):
        await drop.read()


async def test_another_key_is_refused(sftp_side: LocalSide, s3_side: BucketSide, tmp_path: Path) -> None:
    new_key(tmp_path / "other")
    with pytest.raises(KeyRefused, match="refuses the key"):
        await Drop(sftp_side, key=(tmp_path / "other").read_text("utf-8")).read()
    with pytest.raises(KeyRefused, match="SignatureDoesNotMatch"):
        await Drop(s3_side, secret_key="of nobody").read()
    with pytest.raises(ConnectorError, match=r"There is no bucket|may not do this"):
        await Drop(s3_side, where="s3://no-such-bucket/drop").read()


@pytest.mark.parametrize(
    "settings",
    [
        {"where": "sftp://me@169.254.169.254/in", "host_key": "ssh-ed25519 AAAA", "key": "PRIVATE KEY"},
        {"where": "s3://drop/in", "endpoint": "http://169.254.169.254"},
        {"where": "s3://drop/in", "endpoint": "http://203.0.113.9"},
    ],
)
async def test_addresses_that_tell_secrets_or_are_not_encrypted_are_not_called(settings: dict[str, str]) -> None:
    connector = CONNECTOR.adapted({"files": "{}"})
    with pytest.raises(ConnectorError) as caught:
        async with connector.open({"files": "{}", **settings}) as session:
            await session.check()
    assert caught.value.fix


async def test_without_openssh_it_is_said_what_to_install(
    sftp_side: LocalSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConnectorError, match=r"OpenSSH is not installed.*apt-get install openssh-client"):
        await Drop(sftp_side).read()


LISTED = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>{more}</IsTruncated>
<Contents><Key>drop/{name}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>
{token}</ListBucketResult>"""
SKEWED = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>"


class Documented:
    """A server that answers a listing as Amazon's documentation has it: it minds the time, and lists by halves."""

    at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    def __init__(self) -> None:
        self.dates: list[str] = []
        self.answer: tuple[int, str, dict[str, str]] | None = None

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        headers = {"Date": format_datetime(self.at, usegmt=True)}
        self.dates.append(request.headers["x-amz-date"])
        if self.answer is not None:
            status, body, more = self.answer
            return web.Response(status=status, text=body, headers=headers | more)
        if self.dates[-1] != "20310506T070809Z":
            return web.Response(status=403, text=SKEWED, headers=headers)
        second = request.query.get("continuation-token") == "a+/="
        token = "" if second else "<NextContinuationToken>a+/=</NextContinuationToken>"
        name = "people-%C3%BC.csv" if second else "people-1.csv"
        return web.Response(text=LISTED.format(more=str(not second).lower(), token=token, name=name), headers=headers)


@pytest.fixture
async def documented() -> AsyncIterator[tuple[Documented, dict[str, str]]]:
    """The server, and the settings that connect to it."""
    server = Documented()
    runner = web.ServerRunner(web.Server(server))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (host, port), *_ = runner.addresses
    files = PEOPLE.format(folder=".", ending=".csv", more="").replace("./", "")
    given = {"where": "s3://bucket/drop", "endpoint": f"http://{host}:{port}", "key_id": "a", "secret_key": "b"}
    yield server, given | {"files": files}
    await runner.cleanup()


async def test_the_time_of_a_bucket_is_taken_from_its_server_and_lists_go_on(
    documented: tuple[Documented, dict[str, str]],
) -> None:
    server, settings = documented
    async with CONNECTOR.adapted(settings).open(settings) as session:
        said = await session.check()
    assert "from 2 files, the last is people-ü.csv" in said
    assert server.dates[0].startswith("2000"), "no clock of ours says what time it is"
    assert set(server.dates[1:]) == {"20310506T070809Z"}


NONE: dict[str, str] = {}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, SKEWED.replace("RequestTimeTooSkewed", "AccessDenied"), NONE), "may not do this"),
        ((403, SKEWED.replace("RequestTimeTooSkewed", "InvalidAccessKeyId"), NONE), "refuses the key"),
        ((301, SKEWED, {"x-amz-bucket-region": "eu-west-1"}), "The bucket is in eu-west-1"),
        ((404, SKEWED.replace("RequestTimeTooSkewed", "NoSuchBucket"), NONE), "There is no bucket 'bucket'"),
        ((200, "<html>Hello</html", NONE), "S3 answered '<html>Hello"),
        ((200, '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', NONE), "S3 answered"),
    ],
)
async def test_what_a_bucket_refuses_is_told_in_words(
    documented: tuple[Documented, dict[str, str]], answer: tuple[int, str, dict[str, str]], words: str
) -> None:
    server, settings = documented
    server.answer = answer
    async with CONNECTOR.adapted(settings).open(settings) as session:
        with pytest.raises(ConnectorError) as caught:
            await session.check()
    assert words in str(caught.value)
    assert caught.value.fix
