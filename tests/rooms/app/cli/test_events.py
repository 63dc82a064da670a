"""`isthmus events` and `isthmus webhooks` say and do at the terminal what the interface says and does over HTTP."""

import json
from pathlib import Path

import msgspec
import psycopg

from isthmus.app.engines import EngineSettings, running_engines
from tests.rooms.app.cli.conftest import Shell

URL = "https://hooks.invalid/isthmus"
HAPPEN = """
insert into event_bundle (workspace, type, record_type, record_ids, account_ids, hlcs, changed, actor, cause, at, first)
select w.id, 'isthmus.sales.' || told.name || '.changed.v1', 'sales.' || told.name, array[gen_random_uuid()],
       array[null::uuid], array[1], '{stage}', 'user:a', 'b', now(), told.seq
from workspace w, unnest(%s::text[]) with ordinality as told(name, seq) where w.slug = %s
"""
HEAD = "insert into event_head (workspace, seq) select id, %s from workspace where slug = %s"
PARK = """
insert into parked (workspace, consumer, seq, record_id, reason, attempts, parked_at, tried_at)
select v.workspace, 'reactions:gone', v.seq, v.record_id, 'Boom', 1, now(), now()
from event v join workspace w on w.id = v.workspace where w.slug = %s and v.seq = 1
"""


def happen(site: Path, workspace: str, *kinds: str) -> None:
    """Have events of deals and leads happen, and the first of them wait for somebody who is gone."""
    running = running_engines(settings=EngineSettings(data_dir=site))
    assert running is not None
    owner = running.postgres.owner
    with psycopg.connect(owner.conninfo, password=owner.password) as connection:
        connection.execute(HAPPEN, (list(kinds), workspace))
        connection.execute(HEAD, (len(kinds), workspace))
        connection.execute(PARK, (workspace,))


def test_a_webhook_is_added_changed_rotated_and_removed(shell: Shell) -> None:
    made = shell("webhooks", "add", URL, "--event", "lead-capture", "--ordered", "--json").row
    hook = msgspec.convert(made["webhook"], dict[str, object])
    own = str(hook["id"])
    assert str(made["secret"]).startswith("whsec_")
    assert (hook["ordered"], hook["events"], hook["status"]) == (True, ["lead-capture"], "pending")
    clause = ("--where", "score at_least 50", "--changed", "status")
    narrowed = shell("webhooks", "set", own, "--event", "isthmus.sales.lead.*", *clause, "--json").row
    where = [{"field": "score", "is": "at_least", "value": 50}]
    assert narrowed["filter"] == {"changed": ["status"], "where": where}
    assert "no field 'score'" in shell("webhooks", "set", own, "--event", "isthmus.sales.deal.*", code=1).err
    shell("webhooks", "set", own, "--unfiltered")
    changed = shell("webhooks", "set", own, "--per-second", "5", "--event", "*", "--unordered", "--json").row
    assert (changed["per_second"], changed["events"], changed["ordered"]) == (5, ["*"], False)
    assert shell("webhooks", "rotate", own, "--overlap", "1h").out.startswith("whsec_")
    said = shell("webhooks", "test", own, code=6)
    assert "cannot be called" in said.err
    assert own in shell("webhooks").out
    assert "gone" in shell("webhooks", "rm", own, "--yes").err


def test_what_cannot_be_told_is_refused_in_words(shell: Shell) -> None:
    assert "Use https" in shell("webhooks", "add", "http://hooks.invalid/", "--event", "*", code=1).err
    assert "no topic" in shell("webhooks", "add", URL, "--event", "nothing", code=1).err


def test_the_log_is_shown_and_read_again_and_dead_letters_are_given_up(site: Path, shell: Shell) -> None:
    happen(site, shell.workspace, "deal", "lead", "deal")
    assert [each["sequence"] for each in shell("events", "tail", "-n", "2", "--json").rows] == ["2", "3"]
    read = shell("events", "replay", "--after", "1", "--type", "isthmus.sales.deal.*", "--json")
    assert [json.loads(line)["sequence"] for line in read.out.splitlines()] == ["3"]
    assert "sales.deal.changed.v1" in shell("events", "replay", "--since", "1h").out
    (letter,) = shell("events", "dlq", "--json").rows
    assert (letter["consumer"], letter["reason"]) == ("reactions:gone", "Boom")
    assert "no consumer" in shell("events", "dlq", "retry", str(letter["id"]), code=5).err
    assert "given up" in shell("events", "dlq", "discard", str(letter["id"]), "--yes").err
    assert "no dead letters" in shell("events", "dlq").err
