"""The catalogue knows every type of event, who may read it, and which names mean it."""

import shutil
import subprocess

import msgspec
import pytest

from isthmus.app.discovery import schema
from isthmus.app.topics import topics
from isthmus.stream.asyncapi import asyncapi
from isthmus.stream.topics import Declared, Topic, Topics, UnknownTopic, matches
from tests.counterparts import require_npm

LEAD, CONSENT = "isthmus.sales.lead.created.v1", "isthmus.marketing.consent.changed.v1"
ASYNCAPI = {"@asyncapi/specs": "6.11.1", "ajv": "8.20.0", "ajv-formats": "3.0.1"}
CHECK = """
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const require = createRequire(import.meta.url);
const Ajv = require("ajv");
const addFormats = require("ajv-formats");
const ajv = addFormats(new Ajv({ strict: false }));
const check = ajv.compile(require("@asyncapi/specs/schemas/3.0.0-without-$id.json"));
console.log(check(JSON.parse(readFileSync(0, "utf8"))), JSON.stringify(check.errors));
"""


@pytest.mark.parametrize(
    ("pattern", "event", "means"),
    [
        (LEAD, LEAD, True),
        ("isthmus.*.lead.created.v1", LEAD, True),
        ("isthmus.sales.*", LEAD, True),
        ("*", LEAD, True),
        ("isthmus.sales.*.created.v1", LEAD, True),
        ("isthmus.sales", LEAD, False),
        ("isthmus.sales.lead.created.v1.*", LEAD, False),
        ("isthmus.sales.lead.created.v2", LEAD, False),
        ("", LEAD, False),
    ],
)
def test_a_pattern_means_types_segment_by_segment(pattern: str, event: str, *, means: bool) -> None:
    assert matches(pattern, event) is means


def test_names_choose_what_the_areas_open_and_nothing_else() -> None:
    found = topics()
    assert found.chosen(["lead-capture", "consent"], areas=["sales"]) == set(found.members(found.named["lead-capture"]))
    assert CONSENT in found.chosen(["*"], areas=["privacy"])
    assert CONSENT not in found.chosen(["*"], areas=["marketing", "sales"])
    found.check(["lead-capture", LEAD], areas=["sales"], pointer="/events")
    with pytest.raises(UnknownTopic) as refused:
        found.check([LEAD, "consent", "nothing"], areas=["sales"], pointer="/events")
    assert [each.pointer for each in refused.value.faults] == ["/events/1", "/events/2"]


@pytest.mark.parametrize(
    ("declared", "grouped"),
    [
        ([Declared(type="isthmus.sales.lead.notified", record="sales.lead", about="")], []),
        ([Declared(type=LEAD, record="sales.lead", about="")], []),
        ([Declared(type="isthmus.sales.lead.told.v1", record="sales.nothing", about="")], []),
        ([], [Topic(name="a", about="", on=("isthmus.nothing.*",))]),
        ([], [Topic(name="a", about="", on=("*",)), Topic(name="a", about="", on=("*",))]),
    ],
)
def test_a_declaration_that_does_not_fit_stops_the_program(declared: list[Declared], grouped: list[Topic]) -> None:
    with pytest.raises(ValueError, match=r"is no type of event|is declared twice"):
        Topics.of(schema(), declared=declared, topics=grouped)


def test_the_document_is_one_of_asyncapi() -> None:
    home = require_npm(ASYNCAPI)
    script = home / "check.mjs"
    script.write_text(CHECK, "utf-8")
    told = subprocess.run(
        [shutil.which("node") or "node", str(script)],
        input=msgspec.json.encode(asyncapi(topics(), title="isthmus", version="1")),
        check=False,
        capture_output=True,
    )
    assert (told.stdout.decode().strip(), told.returncode) == ("true null", 0), told.stderr.decode()
