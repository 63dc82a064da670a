"""Which column of a file becomes which field: from a saved mapping, from a file, from the header, from options."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
import msgspec

from isthmus.app.cli.common import operator
from isthmus.kernel.errors import Fault, NotFound
from isthmus.sync.files import propose_mapping
from isthmus.sync.mappings import FileMapping, MappingUnfit, Source, check, mapping_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isthmus.app.program import Program
    from isthmus.kernel.marks import RecordType

_TOML = ".toml"


class FileMissing(NotFound):
    """There is no file of that name."""

    code, title = "file-missing", "The file does not exist"


@dataclass(frozen=True, kw_only=True)
class MappingWish:
    """What the options say of the mapping; `pairs` are COLUMN=FIELD, an empty field leaves the column out."""

    type_name: str | None
    mapping: str | None
    pairs: tuple[str, ...]
    system: str | None
    id_column: str | None
    time_column: str | None
    currency: str | None
    blank_is_null: bool
    partial: bool
    pipeline: bool


def check_file(file: Path) -> None:
    """Refuse a file that is not there; raises FileMissing."""
    if not file.is_file():
        raise FileMissing(f"There is no file {file}.", fix="Check the path.")


async def chosen_mapping(program: Program, file: Path, wish: MappingWish) -> tuple[FileMapping, list[str]]:
    """Return the mapping, and the columns that it leaves out.

    Raises FileUnusable, MappingMissing, MappingUnfit, and UsageError where options do not fit together.
    """
    given = await _given(program, wish)
    type_name = wish.type_name or (given.type if given else None)
    if type_name is None:
        raise click.UsageError("Say what the rows are: --type sales.lead")
    if given and given.type != type_name:
        raise click.UsageError(f"The mapping is of {given.type}, not of {type_name}.")
    record_type = program.store.schema[type_name]
    system = wish.system or (given.system if given else "") or file.stem
    encoding = given.encoding if given else "utf-8"
    proposal = await asyncio.to_thread(
        propose_mapping, program.store, file, type_name=type_name, system=system, encoding=encoding
    )
    mapping = _with_options(given or proposal.mapping, wish, record_type)
    mapping = msgspec.structs.replace(mapping, system=system)
    if mapping.fields:
        check(mapping, record_type, [each.column for each in proposal.columns])
    _whole(mapping, record_type, wish)
    return mapping, [each.column for each in proposal.columns if each.column not in mapping.columns]


def mapping_rows(mapping: FileMapping) -> dict[str, str]:
    """Return by field the column or constant that it comes from."""
    return {name: source.column or f"constant {source.constant!r}" for name, source in mapping.fields.items()}


async def _given(program: Program, wish: MappingWish) -> FileMapping | None:
    if wish.mapping is None:
        return None
    if wish.mapping.endswith(_TOML):
        return from_toml(Path(wish.mapping))
    async with program.database.transaction(operator(program, "import")) as tx:
        return await mapping_of(tx, wish.mapping)


def from_toml(path: Path) -> FileMapping:
    """Return the mapping in a TOML file; `email = "E-Mail"` is short for `email = { column = "E-Mail" }`.

    Raises FileMissing and MappingUnfit.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileMissing(f"There is no file {path}.", fix="Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingUnfit(f"{path} cannot be read: {error}.", fix="Correct the file.") from error
    fields: object = told.get("fields", {})
    if isinstance(fields, dict):
        named = cast("Mapping[str, object]", fields)
        told["fields"] = {name: {"column": each} if isinstance(each, str) else each for name, each in named.items()}
    told.setdefault("system", "")
    _known_keys(path, "", told, FileMapping)
    try:
        return msgspec.convert(told, FileMapping)
    except msgspec.ValidationError as error:
        raise MappingUnfit(f"{path}: {error}.", fix="Correct the file.") from error


def _known_keys(path: Path, where: str, told: Mapping[str, object], kind: type[msgspec.Struct]) -> None:
    for name, value in told.items():
        if name not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            raise MappingUnfit(f"{path}: there is no key {where}{name}.", fix=f"There are: {known}.")
        if kind is FileMapping and name == "fields" and isinstance(value, dict):
            for field, source in cast("Mapping[str, object]", value).items():
                if isinstance(source, dict):
                    _known_keys(path, f"fields.{field}.", cast("Mapping[str, object]", source), Source)


def _with_options(mapping: FileMapping, wish: MappingWish, record_type: RecordType) -> FileMapping:
    fields = dict(mapping.fields)
    for pair in wish.pairs:
        column, equals, name = pair.rpartition("=")
        if not equals or not column:
            raise click.UsageError(f"--map {pair}: give it as COLUMN=FIELD.")
        fields = {field: source for field, source in fields.items() if source.column != column or field == name}
        if name:
            before = fields.get(name, Source(transforms=("trim",)))
            fields[name] = msgspec.structs.replace(before, column=column, constant=None)
    if wish.currency is not None:
        for name, source in fields.items():
            declared = record_type.field(name)
            if declared is not None and declared.column == "money" and source.currency_column is None:
                fields[name] = msgspec.structs.replace(source, currency=wish.currency.upper())
    return msgspec.structs.replace(
        mapping,
        fields=fields,
        id_column=wish.id_column or mapping.id_column,
        at=Source(column=wish.time_column) if wish.time_column else mapping.at,
        blank_is_null=wish.blank_is_null or mapping.blank_is_null,
        pipeline=wish.pipeline and mapping.pipeline,
    )


def _whole(mapping: FileMapping, record_type: RecordType, wish: MappingWish) -> None:
    """Refuse a mapping without a required field, because every new row would be rejected; raises MappingUnfit."""
    missing = [each.name for each in record_type.fields if each.required and each.name not in mapping.fields]
    if not missing or wish.partial:
        return
    faults = tuple(
        Fault(
            pointer=f"/fields/{name}",
            code="missing-column",
            detail=f"No column gives {name!r}, which every {record_type.name} has.",
        )
        for name in missing
    )
    raise MappingUnfit(
        " ".join(each.detail for each in faults),
        fix=f"Say which column it is: --map COLUMN={missing[0]}; or, if all rows are of known records: --partial",
        faults=faults,
    )
