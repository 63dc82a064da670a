"""What a record type says of itself, once: its fields with their marks. Engines read it and nobody repeats it.

A domain writes a plain `msgspec.Struct` with `Annotated` marks and names it:

    class Deal(Struct, frozen=True, kw_only=True):
        name: Line
        amount: Annotated[Money | None, CRITICAL] = None
        account_id: Annotated[UUID | None, To("sales.account")] = None

    DEAL = RecordType.of(Deal, name="sales.deal", prefix="deal", retention_days=3650)
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeAlias, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from isthmus.kernel.money import Money

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
else:
    # The validation library takes no recursive alias; what it decodes as anything is JSON by construction.
    Json = Any

LINE_MAX, TEXT_MAX = 500, 20_000
Line = Annotated[str, Meta(max_length=LINE_MAX)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]


class Normal(StrEnum):
    """How a handle is made comparable before it is looked up."""

    EMAIL = "email"
    PHONE = "phone"
    DOMAIN = "domain"
    EXACT = "exact"


@dataclass(frozen=True)
class Handle:
    """The value identifies; records are matched by it. The first handle of a type is the strongest."""

    normal: Normal = Normal.EXACT


@dataclass(frozen=True)
class Personal:
    """The value is about a human and is sealed. The category is of the Fides taxonomy, such as `user.contact.email`."""

    category: str


@dataclass(frozen=True)
class Critical:
    """When two systems moved it differently, a person decides."""


RuleName: TypeAlias = Literal[
    "manual",
    "never",
    "source_of_record",
    "prefer_unless_blank",
    "most_restrictive",
    "advance_only",
    "union",
    "latest_if_separated",
    "latest",
]
"""Rules by name, the one first that counts where two sides name different ones."""


@dataclass(frozen=True)
class Rule:
    """How a conflict of an uncritical field is decided; the default is `latest`.

    `order` lists values from the weakest to the strongest: the later one wins. `system` is the preferred system, and
    the one that loses by `never`. By `manual` a person decides, and by `latest_if_separated` where it cannot be told
    which word was the later one.
    """

    name: RuleName
    system: str | None = None
    order: tuple[str, ...] = ()


@dataclass(frozen=True)
class To:
    """The value is the id of a record of that type."""

    name: str


@dataclass(frozen=True)
class Unpublished:
    """No other domain may read it."""


@dataclass(frozen=True)
class NotNegative:
    """The amount or number is zero or more."""


@dataclass(frozen=True)
class Void:
    """With one of these values the record's money does not count: nothing is owed, or nothing came in."""

    values: tuple[str, ...]


CRITICAL = Critical()
UNPUBLISHED = Unpublished()
NOT_NEGATIVE = NotNegative()
Mark: TypeAlias = Handle | Personal | Critical | Rule | To | Unpublished | NotNegative | Void
LATEST = Rule("latest")

_COLUMNS: dict[object, str] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    Decimal: "numeric",
    datetime: "timestamptz",
    date: "date",
    UUID: "uuid",
    Money: "money",
    list: "jsonb",
    dict: "jsonb",
}


@dataclass(frozen=True)
class Field:
    """One field of a record type; `column` is its PostgreSQL type, `money` standing for amount and currency."""

    name: str
    column: str
    required: bool
    annotation: object
    marks: tuple[Mark, ...]

    @cached_property
    def personal(self) -> Personal | None:
        """The mark that makes it sealed."""
        return next((mark for mark in self.marks if isinstance(mark, Personal)), None)

    @cached_property
    def handle(self) -> Handle | None:
        """The mark that makes it identify."""
        return next((mark for mark in self.marks if isinstance(mark, Handle)), None)

    @cached_property
    def to(self) -> str | None:
        """The record type it points to."""
        return next((mark.name for mark in self.marks if isinstance(mark, To)), None)

    @cached_property
    def critical(self) -> bool:
        """Tell whether a person decides its conflicts."""
        return CRITICAL in self.marks

    @cached_property
    def rule(self) -> Rule:
        """The rule that decides its conflicts."""
        return next((mark for mark in self.marks if isinstance(mark, Rule)), LATEST)

    @cached_property
    def void(self) -> tuple[str, ...]:
        """The values with which the record's money does not count."""
        return next((mark.values for mark in self.marks if isinstance(mark, Void)), ())

    @cached_property
    def published(self) -> bool:
        """Tell whether other domains may read it."""
        return self.personal is None and UNPUBLISHED not in self.marks


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Which fields of a record type hold what somebody agreed to, and the words in them.

    `purpose` and `way` name the fields for what and by which way, `word` the one that is `given` or `withdrawn` (others
    say nothing), `whose` the one that points to whoever it is of, `until` its end. `every` is the way that stands for
    all ways.
    """

    purpose: str
    way: str
    word: str
    whose: str
    until: str
    given: str
    withdrawn: str
    every: str


@dataclass(frozen=True)
class RecordType:
    """A kind of record: `name` is `<domain>.<kind>`, `prefix` opens its ids, retention counts from the last change.

    `agreement` tells of records that say what somebody agreed to.
    """

    name: str
    prefix: str
    retention_days: int
    struct: type[Struct]
    fields: tuple[Field, ...]
    _by_name: dict[str, Field] = field(repr=False, compare=False, hash=False, default_factory=dict[str, Field])
    agreement: Agreement | None = None

    def __hash__(self) -> int:
        """Of the struct alone: types are looked up at every call, and their fields take long to hash."""
        return hash(self.struct)

    @classmethod
    def of(
        cls, struct: type[Struct], *, name: str, prefix: str, retention_days: int, agreement: Agreement | None = None
    ) -> Self:
        """Read the declaration of a struct; raises TypeError when a field has a type that no column holds."""
        hints = get_type_hints(struct, include_extras=True)
        fields = tuple(
            _field(info.name, annotation=hints[info.name], required=info.required)
            for info in msgspec.structs.fields(struct)
        )
        return cls(name, prefix, retention_days, struct, fields, {each.name: each for each in fields}, agreement)

    @property
    def domain(self) -> str:
        """The domain that owns it."""
        return self.name.partition(".")[0]

    @property
    def table(self) -> str:
        """The table that holds it."""
        return self.name.replace(".", "_")

    def field(self, name: str) -> Field | None:
        """Return the field of that name."""
        return self._by_name.get(name)

    @cached_property
    def open_fields(self) -> tuple[Field, ...]:
        """Fields that are stored in clear."""
        return tuple(each for each in self.fields if each.personal is None)

    @cached_property
    def personal_fields(self) -> tuple[Field, ...]:
        """Fields that are sealed."""
        return tuple(each for each in self.fields if each.personal is not None)

    @cached_property
    def handles(self) -> tuple[Field, ...]:
        """Fields that identify, strongest first."""
        return tuple(each for each in self.fields if each.handle is not None)

    @cached_property
    def open_part(self) -> type[Struct]:
        """A struct of the open fields in which everything may be absent, and absent differs from null."""
        return _partial(f"{self.struct.__name__}Open", self.open_fields)

    @cached_property
    def personal_part(self) -> type[Struct]:
        """The same for the sealed fields."""
        return _partial(f"{self.struct.__name__}Personal", self.personal_fields)


def _field(name: str, *, annotation: object, required: bool) -> Field:
    marks: list[Mark] = []
    bare = annotation
    for layer in _layers(annotation):
        marks.extend(mark for mark in getattr(layer, "__metadata__", ()) if isinstance(mark, Mark))
        if get_origin(layer) is not Annotated:
            bare = layer
    base: object = get_origin(bare) or bare
    if isinstance(bare, type) and issubclass(bare, StrEnum):
        base = str
    column = _COLUMNS.get(base)
    if column is None:
        message = f"field {name}: no column holds {annotation!r}"
        raise TypeError(message)
    return Field(name, column, required, annotation, tuple(marks))


def _layers(annotation: object) -> list[object]:
    """Return the annotation and what it wraps, without None: `Annotated[Line | None, …]` gives three layers."""
    layers = [annotation]
    inner = annotation
    while True:
        origin = get_origin(inner)
        if origin is Annotated:
            inner = get_args(inner)[0]
        elif origin in (Union, UnionType):
            inner = next(each for each in get_args(inner) if each is not NoneType)
        else:
            return layers
        layers.append(inner)


class MoneyForm(Struct, frozen=True):
    """Money as it stands in JSON, once its amount and currency are checked."""

    amount: str
    currency: str


def _checked(declared: Field) -> object:
    return MoneyForm if declared.column == "money" else declared.annotation


def _partial(name: str, fields: tuple[Field, ...]) -> type[Struct]:
    return msgspec.defstruct(
        name,
        [(each.name, Union[_checked(each), None, UnsetType], UNSET) for each in fields],  # noqa: UP007 - built at run time.
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
    )


@dataclass(frozen=True)
class Domain:
    """A domain's manifest: its name, what it is about, and the record types it owns."""

    name: str
    about: str
    records: tuple[RecordType, ...]
