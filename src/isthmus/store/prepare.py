"""From observations to rows that can be stored: normalised, checked against the record type, digested, indexed.

Pure computation, safe in a thread: the next batch is prepared while the database stores the last one.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import cast
from uuid import UUID

import msgspec
from email_validator import EmailNotValidError, validate_email

from isthmus.kernel.errors import Fault, IsthmusError
from isthmus.kernel.hlc import evidence
from isthmus.kernel.marks import NOT_NEGATIVE, Field, Json, Normal, RecordType
from isthmus.kernel.money import MINOR_DIGITS, InvalidMoney, Money
from isthmus.store.observation import Observation
from isthmus.vault import WorkspaceKeys, blind_index, normal_form

DIGEST_BYTES = 16
_EXTERNAL_ID_MAX = 500
_NUL = b"\\u0000"
# The common form of an address; what it does not match is judged by the full grammar.
_PLAIN_EMAIL = re.compile(r"[a-z0-9._%+-]{1,64}@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,24}")
_LOCAL_DOTS = re.compile(r"^\.|\.\.|\.@")


@dataclass(slots=True)
class Row:
    """An observation made ready. `record_id` and `fresh` (a new record) are filled in when it is known who it is.

    `settles` names fields whose case it decides. `echo` is the interval in which the system kept saying its last word,
    when this word arrives late from inside it.
    """

    observation: Observation
    open_json: bytes
    personal_json: bytes
    digest: bytes
    indexes: tuple[bytes | None, ...]
    hlc: int
    record_id: UUID | None = None
    fresh: bool = False
    known: bool = False
    settles: tuple[str, ...] = ()
    echo: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """An observation that cannot be stored, and why."""

    observation: Observation
    faults: tuple[Fault, ...]

    @property
    def reason(self) -> str:
        """All faults in one sentence each."""
        return " ".join(f"{fault.pointer}: {fault.detail}" for fault in self.faults)

    def error(self) -> IsthmusError:
        """Return the error to raise where one observation stands alone."""
        return Rejected(self.faults)


@dataclass(slots=True)
class Prepared:
    """One batch of one record type."""

    type: RecordType
    rows: list[Row]
    rejects: list[Reject]
    unchanged: int = 0
    merged: list[Row] = field(default_factory=list[Row])


class _Fault(Exception):
    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Preparer:
    """Prepares observations of one record type in one workspace."""

    def __init__(self, record_type: RecordType, keys: WorkspaceKeys) -> None:
        """Derive the keys and the normalisers once."""
        self.type = record_type
        self._digest_key = keys.derived("digest")
        self._index_keys = [
            (each.name, each.handle.normal, keys.derived(f"index:{record_type.name}.{each.name}"))
            for each in record_type.handles
            if each.handle
        ]
        self._normalisers = {each.name: _normaliser(each) for each in record_type.fields}
        self._personal = frozenset(each.name for each in record_type.personal_fields)

    def prepare(self, observations: Iterable[Observation], *, since: datetime | None, until: datetime) -> Prepared:
        """Return rows and rejects; `since`..`until` is the interval in which the observations were made.

        An observation that is there twice (same id, same time) is taken once.
        """
        rows: dict[tuple[str, str, int], Row] = {}
        rejects: list[Reject] = []
        repeated = 0
        for each in observations:
            hlc = evidence(claimed_at=each.at, since=since, until=until)
            place = (each.system, each.external_id, hlc)
            if place in rows:
                repeated += 1
                continue
            try:
                rows[place] = self._row(each, hlc)
            except Rejected as error:
                rejects.append(Reject(each, error.faults))
        return Prepared(self.type, list(rows.values()), rejects, unchanged=repeated)

    def index(self, name: str, value: str) -> bytes | None:
        """Return the blind index of a handle, to look a record up by it."""
        for field_name, normal, key in self._index_keys:
            if field_name == name:
                return blind_index(value, key=key, normal=normal)
        return None

    def _row(self, observation: Observation, hlc: int) -> Row:
        normal = self.normalise(observation.fields)
        personal = {name: normal.pop(name) for name in self._personal if name in normal}
        handles = [personal.get(name, normal.get(name)) for name, _, _ in self._index_keys]
        open_json = msgspec.json.encode(_converted(normal, self.type.open_part))
        personal_json = msgspec.json.encode(_converted(personal, self.type.personal_part)) if personal else b""
        if _NUL in open_json or _NUL in personal_json:
            raise Rejected((Fault(pointer="/", code="nul", detail="Remove the NUL characters from the text."),))
        if len(observation.external_id) > _EXTERNAL_ID_MAX or not observation.external_id:
            raise Rejected((Fault(pointer="/external_id", code="invalid", detail="Give 1 to 500 characters."),))
        digest = blake2b(open_json, key=self._digest_key, digest_size=DIGEST_BYTES)
        digest.update(b"\0" + personal_json + (b"\1" if observation.deleted else b"\0"))
        for name, link in observation.links.items():
            digest.update(f"{name}={link.system or ''}:{link.external_id}\0".encode())
        indexes = tuple(
            blind_index(value, key=key, normal=kind) if isinstance(value, str) else None
            for value, (_, kind, key) in zip(handles, self._index_keys, strict=True)
        )
        return Row(observation, open_json, personal_json, digest.digest(), indexes, hlc)

    def normalise(self, fields: dict[str, Json]) -> dict[str, Json]:
        """Return the fields in the one form in which they are stored and compared; raises Rejected with every fault."""
        normal: dict[str, Json] = {}
        faults: list[Fault] = []
        for name, value in fields.items():
            normaliser = self._normalisers.get(name)
            if normaliser is None:
                fix = f"{self.type.name} has no field {name!r}; use `custom` for fields of your own."
                faults.append(Fault(pointer=f"/{name}", code="unknown-field", detail=fix))
            elif value is None:
                normal[name] = None
            else:
                try:
                    normal[name] = normaliser(value)
                except _Fault as error:
                    faults.append(Fault(pointer=f"/{name}", code=error.code, detail=error.detail))
        if faults:
            raise Rejected(tuple(faults))
        return normal


class Rejected(IsthmusError):
    """An observation has faults."""

    status, code, title = 422, "rejected", "The record cannot be stored"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{each.pointer}: {each.detail}" for each in faults), faults=faults)




def _converted(values: dict[str, Json], part: type[msgspec.Struct]) -> msgspec.Struct:
    try:
        return msgspec.convert(values, part)
    except (msgspec.ValidationError, InvalidMoney) as error:
        raise Rejected(tuple(_faults(values, part)) or (_fault("/", str(error)),)) from error


def _faults(values: dict[str, Json], part: type[msgspec.Struct]) -> Iterable[Fault]:
    """Check every field by itself, so that all faults are told at once."""
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, part)
        except (msgspec.ValidationError, InvalidMoney) as error:
            yield _fault(f"/{name}", str(error))


def _fault(pointer: str, message: str) -> Fault:
    text, _, path = message.partition(" - at `$")
    inner = path.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")
    return Fault(pointer=inner or pointer, code="invalid-value", detail=f"{text}.")


def _normaliser(declared: Field) -> Callable[[Json], Json]:
    if declared.handle is not None:
        return _EMAIL_OR[declared.handle.normal]
    match declared.column:
        case "text":
            return _text
        case "money":
            return _not_negative(_money) if NOT_NEGATIVE in declared.marks else _money
        case "numeric":
            return _numeric
        case "timestamptz":
            return _moment
        case "double precision":
            return _float
        case _:
            return _same


def _same(value: Json) -> Json:
    return value


def _text(value: Json) -> Json:
    return value.strip() if isinstance(value, str) else value


def _float(value: Json) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        raise _Fault("not-a-number", "NaN and infinity are not numbers here; send a number or null.")
    return value


def _email(value: Json) -> Json:
    if not isinstance(value, str):
        return value
    address = normal_form(value, Normal.EMAIL)
    if _PLAIN_EMAIL.fullmatch(address) and not _LOCAL_DOTS.search(address):
        return address
    if not address:
        return ""
    try:
        return validate_email(address, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise _Fault("invalid-email", f"{error} Send an address such as name@company.example.") from error


def _phone(value: Json) -> Json:
    return normal_form(value, Normal.PHONE) if isinstance(value, str) else value


def _domain(value: Json) -> Json:
    return normal_form(value, Normal.DOMAIN) if isinstance(value, str) else value


_EMAIL_OR: dict[Normal, Callable[[Json], Json]] = {
    Normal.EMAIL: _email,
    Normal.PHONE: _phone,
    Normal.DOMAIN: _domain,
    Normal.EXACT: _text,
}


def _decimal(value: Json) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Fault("invalid-amount", 'Send the amount as a decimal in a string, such as "123.45".')
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise _Fault("invalid-amount", f'{value!r} is not a decimal; send a string such as "123.45".') from error
    if not amount.is_finite():
        raise _Fault("not-a-number", "NaN and infinity are not amounts; send a decimal or null.")
    return amount


def _numeric(value: Json) -> Json:
    return format(_decimal(value).normalize(), "f")


def canonical_amount(amount: Decimal, currency: str) -> str:
    """Return the amount with the decimals of its currency, and more only where it has them: `12.50`, `0.125`, `300`."""
    digits = MINOR_DIGITS.get(currency, 2)
    plain = amount.normalize()
    exponent = plain.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > digits:
        return format(plain, "f")
    return f"{amount:.{digits}f}"


def _money(value: Json) -> Json:
    if not isinstance(value, dict) or set(value) != {"amount", "currency"}:
        raise _Fault("invalid-money", 'Send money as {"amount": "123.45", "currency": "EUR"}.')
    amount, currency = _decimal(value["amount"]), value["currency"]
    try:
        money = Money(amount, cast("str", currency))
    except InvalidMoney as error:
        raise _Fault(error.code, str(error)) from error
    except TypeError as error:
        raise _Fault("invalid-money", 'The currency is three capitals of ISO 4217, such as "EUR".') from error
    return {"amount": canonical_amount(money.amount, money.currency), "currency": money.currency}


def _not_negative(inner: Callable[[Json], Json]) -> Callable[[Json], Json]:
    def checked(value: Json) -> Json:
        money = inner(value)
        if isinstance(money, dict) and str(money["amount"]).startswith("-"):
            raise _Fault("negative", "The amount is below zero; send zero or more.")
        return money

    return checked


def _moment(value: Json) -> Json:
    if not isinstance(value, str):
        raise _Fault("invalid-time", "Send a moment as RFC 3339 text, such as 2026-11-22T09:00:00Z.")
    try:
        at = datetime.fromisoformat(value)
    except ValueError as error:
        raise _Fault("invalid-time", f"{value!r} is not RFC 3339, such as 2026-11-22T09:00:00Z.") from error
    if at.tzinfo is None:
        raise _Fault("no-time-zone", f"{value!r} names no time zone; add Z or an offset such as +01:00.")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
