"""What a form for a connection holds, made from what its connector takes: which fields, and what stands in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta, Struct

from isthmus.console import words
from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.sync.connections import NAME_CHARACTERS_MAX, Connection
from isthmus.sync.connector import Connector, Setting

RHYTHMS = (300, 900, 3_600, 21_600, 86_400)
EVERY_S_DEFAULT = 900
_Value = Annotated[str, Meta(max_length=20_000)]
_Key = Annotated[str, Meta(max_length=100)]


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was filled in: `values` stand in the order of the names in `keys`; an empty one was left as it is.

    A box that is not ticked sends nothing.
    """

    name: Annotated[str, Meta(max_length=NAME_CHARACTERS_MAX)] = ""
    keys: Annotated[list[_Key], Meta(max_length=60)] = []
    values: Annotated[list[_Value], Meta(max_length=60)] = []
    every_s: Annotated[int, Meta(ge=0, le=31 * 86_400)] = 0
    push: bool = False
    delete: bool = False
    pipeline: bool = False
    create: Annotated[list[_Key], Meta(max_length=100)] = []

    @property
    def settings(self) -> dict[str, str]:
        """The settings that were given."""
        return {key: value.replace("\r\n", "\n") for key, value in zip(self.keys, self.values, strict=False) if value}


@dataclass(frozen=True, kw_only=True)
class Box:
    """One field of the form: what is shown in it, and what is wrong with it. Nothing is ever shown in a secret one."""

    name: str
    label: str
    about: str
    secret: bool
    long: bool
    required: bool
    value: str
    hint: str
    fault: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A record type that may be made there, and whether it is to be."""

    name: str
    label: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """How often it runs."""

    seconds: int
    label: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form: what has to be given, what need not be, what it may do; `kept` tells that secrets are there already."""

    name: str
    name_fault: str
    first: Sequence[Box]
    more: Sequence[Box]
    more_open: bool
    creates: Sequence[Tick]
    writes: str
    rhythms: Sequence[Rhythm]
    push: bool
    delete: bool
    pipeline: bool
    kept: bool
    again: bool


def new_form(connector: Connector, given: Given | None, refused: IsthmusError | None) -> Form:
    """Return the form that connects; after a refusal with what was given, apart from secrets."""
    filled = given or Given(name=connector.name, every_s=EVERY_S_DEFAULT, push=True, delete=True, pipeline=True)
    values = filled.settings if given else {}
    return _form(connector, filled, values, refused, kept=False, again=given is not None)


def changing_form(
    connector: Connector, connection: Connection, given: Given | None, refused: IsthmusError | None
) -> Form:
    """Return the form that changes a connection."""
    own = connection.options
    filled = given or Given(
        name=connection.name,
        every_s=connection.every_s or 0,
        push=own.push,
        delete=own.delete,
        pipeline=own.pipeline,
        create=list(own.create),
    )
    values = {**connection.settings, **(filled.settings if given else {})}
    return _form(connector, filled, values, refused, kept=True, again=given is not None)


def unreachable(connector: Connector) -> Sequence[Setting]:
    """Return the settings that have to be given on the machine itself, because they name something there."""
    return [each for each in connector.settings if each.local and each.default is None]


def _form(
    connector: Connector,
    filled: Given,
    values: Mapping[str, str],
    refused: IsthmusError | None,
    *,
    kept: bool,
    again: bool,
) -> Form:
    faults = _by_name(refused.faults if refused else ())
    boxes = [_box(each, values, faults, kept=kept) for each in connector.settings if not each.local]
    ours = _first(connector)
    made = list(dict.fromkeys(name for feed in connector.feeds for name in feed.writes))
    more = [each for each in boxes if each.name not in ours]
    return Form(
        name=filled.name,
        name_fault=faults.get("name", ""),
        first=[each for each in boxes if each.name in ours],
        more=more,
        more_open=any(each.fault for each in more),
        creates=[Tick(name=each, label=words.kind(each, count=2), chosen=each in filled.create) for each in made],
        writes=", ".join(words.kind(each, count=2) for each in made),
        rhythms=_rhythms(filled.every_s),
        push=filled.push,
        delete=filled.delete,
        pipeline=filled.pipeline,
        kept=kept,
        again=again,
    )


def _box(setting: Setting, values: Mapping[str, str], faults: Mapping[str, str], *, kept: bool) -> Box:
    secret = setting.secret
    default = setting.default
    hint = ""
    if secret and kept:
        hint = "as it is"
    elif default:
        hint = default
    return Box(
        name=setting.name,
        label=words.title(setting.name),
        about=setting.about,
        secret=secret,
        long=setting.long,
        required=default is None and not (secret and kept),
        value="" if secret else values.get(setting.name, ""),
        hint=hint,
        fault=faults.get(setting.name, ""),
    )


def _first(connector: Connector) -> frozenset[str]:
    """Return the settings that say where and as whom: all up to the last that is required or secret.

    Those that have a default that fits most are left out.
    """
    own = connector.settings
    last = max((n for n, each in enumerate(own) if each.default is None or each.secret), default=-1)
    return frozenset(each.name for each in own[: last + 1] if not each.default)


def _by_name(faults: Sequence[Fault]) -> dict[str, str]:
    named: dict[str, str] = {}
    for each in faults:
        named.setdefault(each.pointer.removeprefix("/settings/").removeprefix("/").partition("/")[0], each.detail)
    return named


def _rhythms(chosen: int) -> Sequence[Rhythm]:
    known = sorted({*RHYTHMS, chosen} - {0})
    own = [Rhythm(seconds=each, label=f"every {words.duration(each)}", chosen=each == chosen) for each in known]
    return [*own, Rhythm(seconds=0, label="only when it is asked to", chosen=chosen == 0)]
