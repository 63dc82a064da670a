"""The ledger: every step of every unit as packed numpy columns, sorted once, so that each model is a pass over arrays.

A *unit* is whose steps belong together (an account with its buying group), a *bucket* is what may receive credit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import numpy as np

from isthmus.analytics import _arrow
from isthmus.analytics._arrow import I64, U8, U16, U32, Array, Bools, Table
from isthmus.analytics.rules import Mark
from isthmus.kernel.errors import Invalid

UNATTRIBUTED = "unattributed"
ROLES: Mapping[str, Mark] = MappingProxyType({mark.name.lower(): mark for mark in Mark if mark is not Mark.NONE})
_OF = "the table of steps"
_U16_MAX = 2**16
_WORD_BITS = 63


class ReservedBucket(Invalid):
    """A bucket carries the name that is kept for outcomes without steps."""

    code, title = "reserved-bucket", "The name of a bucket is reserved"


class RepeatedId(Invalid):
    """Two rows carry the same id, so that one of them would be counted twice."""

    code, title = "repeated-id", "An id is given twice"


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """n steps of u units, sorted by unit, then time, then id (then bucket and flags): the order is total.

    `unit` u32[n] indexes `units`, which are in byte order; `at` int64[n] is microseconds since 1970 UTC; `bucket`
    u16[n] (u32 beyond 65,536 buckets) indexes `buckets`, in byte order; `flags` u8[n]: bit 0 direct, bits 1-3 mark;
    `starts` int64[u + 1]: the rows of unit k are `starts[k]:starts[k + 1]`. `ids` are the given ids in this order,
    or None, in which case the k-th step of a unit is called `<unit>#<k>`.
    """

    unit: U32
    at: I64
    bucket: U16 | U32
    flags: U8
    starts: I64
    units: Array
    buckets: Array
    ids: Array | None

    @classmethod
    def of(cls, steps: Table, *, roles: Mapping[str, Mark] = ROLES) -> Self:
        """Build from columns `unit`, `at`, `bucket` and the optional `step` (id), `direct` (bool), `role` (text).

        A role that `roles` does not know carries no mark.

        Raises:
            MissingColumn, UnusableColumn: a column is absent, of the wrong type, or empty somewhere.
            RepeatedId: two steps share an id.
            ReservedBucket: a bucket is called `unattributed`.
        """
        unit, units = _arrow.encode(_arrow.texts(_arrow.column(steps, name="unit", of=_OF)))
        bucket, buckets = _arrow.encode(_arrow.texts(_arrow.column(steps, name="bucket", of=_OF)))
        if UNATTRIBUTED in _arrow.strings(buckets):
            raise ReservedBucket(f"A bucket is called `{UNATTRIBUTED}`.", fix="Give that bucket another name.")
        at = _arrow.microseconds(_arrow.column(steps, name="at", of=_OF), name="at", of=_OF)
        flags = _flags(steps, roles=roles)
        ids = _ids(steps)
        order = _order(unit=unit, at=at, bucket=bucket, flags=flags, ids=ids)
        counts = np.bincount(unit, minlength=len(units)) if unit.size else np.zeros(len(units), dtype=np.int64)
        return cls(
            unit=unit[order],
            at=at[order],
            bucket=bucket[order].astype(np.uint16) if len(buckets) <= _U16_MAX else bucket[order],
            flags=flags[order],
            starts=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            units=units,
            buckets=buckets,
            ids=None if ids is None else ids.take(_arrow.array(order)),
        )

    def step_ids(self, rows: I64) -> Array:
        """Return the ids of these rows."""
        if self.ids is not None:
            return self.ids.take(_arrow.array(rows))
        unit = self.unit[rows].astype(np.int64)
        return _arrow.numbered(self.units.take(_arrow.array(unit)), numbers=rows - self.starts[unit] + 1)


def unpacked(flags: U8) -> tuple[Bools, U8]:
    """Return which are direct (nobody's work, so that last-non-direct passes over them), and the marks."""
    return (flags & 1).astype(np.bool_), flags >> np.uint8(1)


def _flags(steps: Table, *, roles: Mapping[str, Mark]) -> U8:
    flags = _arrow.truths(steps, name="direct", of=_OF, default=False).astype(np.uint8)
    role = _arrow.optional(steps, name="role")
    if role is None or not roles:
        return flags
    known = _arrow.words(sorted(roles))
    marks = np.array([*(roles[word] for word in sorted(roles)), Mark.NONE], dtype=np.uint8)
    return flags | (marks[_arrow.positions(_arrow.texts(role), among=known)] << np.uint8(1))


def _ids(steps: Table) -> Array | None:
    if "step" not in steps.column_names:
        return None
    ids = _arrow.texts(_arrow.column(steps, name="step", of=_OF))
    twice = _arrow.repeated(ids)
    if twice is not None:
        raise RepeatedId(f"Step id {twice!r} is given more than once.", fix="Give every step once, with its own id.")
    return ids


def _order(*, unit: U32, at: I64, bucket: U32, flags: U8, ids: Array | None) -> I64:
    """Sort by unit and time, packed in one word where they fit; then only rows that tie by id, or bucket and flags."""
    key = _packed(unit=unit, at=at)
    order = np.lexsort((at, unit)) if key is None else np.argsort(key)
    same = (unit[order][1:] == unit[order][:-1]) & (at[order][1:] == at[order][:-1])
    if same.any():
        tied = np.flatnonzero(np.concatenate((same, [False])) | np.concatenate(([False], same)))
        rows = order[tied]
        if ids is None:
            later = (bucket[rows].astype(np.int64) << 8) | flags[rows]
        else:
            later = _arrow.encode(ids.take(_arrow.array(rows)))[0].astype(np.int64)
        order[tied] = rows[np.lexsort((later, at[rows], unit[rows]))]
    return order


def _packed(*, unit: U32, at: I64) -> I64 | None:
    """Return unit and time in 63 bits, time in the coarsest unit that loses nothing; None when they do not fit."""
    if not unit.size:
        return at
    since = at - at.min()
    for resolution in (1_000_000, 1_000, 1):
        if not np.any(since % resolution):
            break
    ticks = since // resolution
    bits = int(ticks.max()).bit_length()
    if int(unit.max()).bit_length() + bits > _WORD_BITS:
        return None
    return (unit.astype(np.int64) << bits) | ticks
