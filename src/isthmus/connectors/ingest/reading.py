"""From what was sent to rows of feeds, and from rows to observations. Pure, so that a better mapping is a replay.

Each event is a row of its own, as it was received. Whoever it names is a stranger first: a person or an account that is
known by an id alone. What is said of them in one call comes together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import msgspec

from isthmus.connectors.ingest import amplitude, mixpanel, posthog, segment, snowplow
from isthmus.connectors.ingest.formats import Format, Path
from isthmus.connectors.ingest.mapping import ACCOUNT, EVENT, PERSON, account_word, event_word, person_word
from isthmus.connectors.ingest.said import NotUnderstood, Said
from isthmus.connectors.ingest.values import mapping, moment, own_id
from isthmus.kernel.errors import IsthmusError
from isthmus.kernel.marks import Json
from isthmus.kernel.words import Word
from isthmus.store.observation import Observation
from isthmus.sync.connector import Feed, Raw, observations
from isthmus.sync.doors import sent_of

FORMATS = {
    each.name: each for each in (segment.FORMAT, posthog.FORMAT, mixpanel.FORMAT, amplitude.FORMAT, snowplow.FORMAT)
}
SEEN_GROUPS, SEEN_PEOPLE, GROUPS, PEOPLE, EVENTS = "seen_groups", "seen_people", "groups", "people", "events"
FEEDS = tuple(
    Feed(name=name, types=(type_name,), deletes=False)
    for name, type_name in (
        (SEEN_GROUPS, ACCOUNT),
        (SEEN_PEOPLE, PERSON),
        (GROUPS, ACCOUNT),
        (PEOPLE, PERSON),
        (EVENTS, EVENT),
    )
)
EVENT_BYTES_MAX = {"segment": 32 << 10, "posthog": 1 << 20, "mixpanel": 1 << 20}
ID_CHARACTERS_MAX = 500


@dataclass
class _Gathered:
    """What the events of one call say of people and accounts, and the events themselves, by their ids."""

    groups: dict[str, tuple[datetime, dict[str, Json]]] = field(
        default_factory=dict[str, tuple[datetime, dict[str, Json]]]
    )
    people: dict[str, tuple[datetime, dict[str, Json]]] = field(
        default_factory=dict[str, tuple[datetime, dict[str, Json]]]
    )
    of: dict[str, str] = field(default_factory=dict[str, str])
    seen_groups: dict[str, datetime] = field(default_factory=dict[str, datetime])
    seen_people: dict[str, datetime] = field(default_factory=dict[str, datetime])
    merges: dict[str, tuple[str, datetime]] = field(default_factory=dict[str, tuple[str, datetime]])
    events: list[Raw] = field(default_factory=list[Raw])

    def add(self, said: Said) -> None:
        """Add what an event says of somebody."""
        who = said.person or said.anonymous
        if said.account is not None:
            self.seen_groups.setdefault(said.account, said.at)
            if said.account_traits is not None:
                _say(self.groups, said.account, said.at, said.account_traits)
        if who is None:
            return
        self.seen_people.setdefault(who, said.at)
        if said.traits:
            _say(self.people, who, said.at, said.traits)
        if said.account is not None and said.event is None:
            _say(self.people, who, said.at, {})
            self.of[who] = said.account
        if said.person and said.anonymous and said.person != said.anonymous:
            self.merges.setdefault(said.anonymous, (said.person, said.at))

    def rows(self) -> Iterator[tuple[str, Raw]]:
        """Yield rows by feed."""
        for own, at in self.seen_groups.items():
            yield SEEN_GROUPS, Raw(external_id=own, body={"name": own}, at=at, stranger=True)
        for own, at in self.seen_people.items():
            yield SEEN_PEOPLE, Raw(external_id=own, body={}, at=at, stranger=True)
        for own, (into, at) in self.merges.items():
            if own not in self.people:
                yield SEEN_PEOPLE, Raw(external_id=own, body={}, at=at, deleted=True, merged_into=into, stranger=True)
        for own, (at, traits) in self.groups.items():
            yield GROUPS, Raw(external_id=own, body={"traits": traits}, at=at)
        for own, (at, traits) in self.people.items():
            yield PEOPLE, Raw(external_id=own, body={"traits": traits, "account": self.of.get(own)}, at=at)
        yield from ((EVENTS, raw) for raw in self.events)


def _say(
    found: dict[str, tuple[datetime, dict[str, Json]]], own: str, at: datetime, traits: Mapping[str, Json]
) -> None:
    before_at, before = found.get(own, (at, {}))
    found[own] = (max(before_at, at), {**before, **traits})


def place_of(path: str) -> tuple[Format, Path]:
    """Return whose path it is; raises NotUnderstood for one that is nobody's."""
    for each in FORMATS.values():
        for place in each.paths:
            if place.path == path:
                return each, place
    raise NotUnderstood(f"Nothing is sent to {path!r}.", fix="Send it to a path that is listed.")


def read(body: bytes) -> Iterable[tuple[str, Raw]]:
    """Return rows by feed of what was sent, as it is kept; a bad event is a row like others, and fails when mapped."""
    sent = sent_of(body)
    spoken, place = place_of(sent.path)
    batch = spoken.batch(place, sent)
    gathered = _Gathered()
    for event in batch.events:
        row: dict[str, Json] = {
            "format": spoken.name,
            "received": sent.at.isoformat(),
            "sent": batch.sent.isoformat() if batch.sent else None,
            "event": event,
        }
        try:
            said = said_in(row)
        except IsthmusError:
            gathered.events.append(Raw(external_id=own_id(event), body=row, at=sent.at))
            continue
        gathered.add(said)
        if said.event is not None:
            gathered.events.append(Raw(external_id=said.id, body=row, at=said.at, stranger=True))
    return gathered.rows()


def said_in(row: Mapping[str, Json]) -> Said:
    """Return what the event of a row says; raises NotUnderstood."""
    event = row["event"]
    if not isinstance(event, dict):
        raise NotUnderstood("The event is no object.", fix="Send what the program library sends, unaltered.")
    name = str(row["format"])
    most = EVENT_BYTES_MAX.get(name)
    if most is not None and len(msgspec.json.encode(event)) > most:
        raise NotUnderstood(f"The event is over {most:,} bytes.", fix="Send less of it.")
    received = moment(row["received"])
    assert received is not None
    said = FORMATS[name].said(event, moment(row["sent"]), received)
    for own in (said.id, said.person, said.anonymous, said.account):
        if own is not None and (len(own) > ID_CHARACTERS_MAX or not own.isprintable()):
            raise NotUnderstood(
                f"An id is over {ID_CHARACTERS_MAX} characters, or has others.", fix="Send a shorter id."
            )
    return said


def normalise(feed: str, raw: Raw) -> Iterable[Observation]:
    """Return what a row says of our records; raises NotUnderstood for a bad event."""
    return observations("ingest", raw, _words(feed, raw))


def _words(feed: str, raw: Raw) -> list[Word]:
    body = raw.body
    traits = mapping(body.get("traits"))
    match feed:
        case "seen_groups":
            return [Word(type=ACCOUNT, fields={"name": body["name"]})]
        case "seen_people":
            return [Word(type=PERSON, fields={})]
        case "groups":
            return [account_word(traits)]
        case "people":
            return [person_word(traits, account=cast("str | None", body.get("account")))]
        case _:
            return [event_word(said_in(body))]
