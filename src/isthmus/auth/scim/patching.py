"""Changing a document by operations (RFC 7644 §3.5.2), as clients really send them.

Beyond the standard: `op` in any case, booleans as texts, names with dots or schemas as keys of a value without a path,
`remove` of a multi-valued attribute with the values to be removed (without this reading, all would go), and `add` or
`replace` where a filter of equalities matches nothing, which makes such a value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from isthmus.auth.scim.attributes import Attribute, Document, Kind, read_attribute, read_single
from isthmus.auth.scim.errors import InvalidPath, InvalidSyntax, NoTarget, NotChangeable, ScimRefused, TooManyAtOnce
from isthmus.auth.scim.evaluating import conditions_of, listed, value_meets
from isthmus.auth.scim.filters import Filter, Path, read_path
from isthmus.kernel.marks import Json

OPERATIONS_MAX = 1_000
_OPS = frozenset({"add", "replace", "remove"})
_IGNORED = frozenset({"schemas", "id", "meta"})


@dataclass(frozen=True)
class _Operation:
    op: str
    path: str
    value: Json
    has_value: bool


def changed(document: Document, body: Mapping[str, Json], kind: Kind) -> Document:
    """Return the document after the operations of a PatchOp message, all or none; raises ScimRefused."""
    made: Document = {name: _copied(value) for name, value in document.items()}
    for each in _operations(body):
        if each.path:
            if _skipped(kind, each.path):
                continue
            _apply(made, each, read_path(each.path), kind)
        elif each.op == "remove":
            raise NoTarget("`remove` needs a path.", fix="Say what shall be removed.")
        else:
            _apply_whole(made, each, kind)
    return made


def _operations(body: Mapping[str, Json]) -> list[_Operation]:
    given = next((value for key, value in body.items() if key.lower() == "operations"), None)
    if not isinstance(given, list) or not given:
        raise InvalidSyntax("There are no `Operations`.", fix="Send a list of them.")
    if len(given) > OPERATIONS_MAX:
        raise TooManyAtOnce(f"There are over {OPERATIONS_MAX} operations.", fix="Send them in parts.")
    return [_operation(each) for each in given]


def _operation(given: Json) -> _Operation:
    if not isinstance(given, dict):
        raise InvalidSyntax("An operation is no JSON object.", fix="Send objects with op, path and value.")
    named = {key.lower(): value for key, value in given.items()}
    op, path = named.get("op"), named.get("path") or ""
    if not isinstance(op, str) or op.lower() not in _OPS:
        raise InvalidSyntax("`op` is none of add, replace and remove.", fix="Send one of these.")
    if not isinstance(path, str):
        raise InvalidPath("`path` is no text.", fix="Write it as RFC 7644 §3.5.2 does.")
    return _Operation(op.lower(), path.strip(), named.get("value"), "value" in named)


def _apply_whole(made: Document, each: _Operation, kind: Kind) -> None:
    """Apply an operation without a path, whose value holds names and values."""
    if not isinstance(each.value, dict):
        raise InvalidSyntax("An operation without a path needs an object as value.", fix="Send names and values.")
    for key, value in cast("Mapping[str, Json]", each.value).items():
        lowered = key.lower()
        if lowered in _IGNORED or _skipped(kind, key):
            continue
        own = _Operation(each.op, key, value, has_value=True)
        if lowered in {kind.schema.lower(), kind.extension.lower()} and isinstance(value, dict):
            _apply_whole(made, _Operation(each.op, "", value, has_value=True), kind)
            continue
        path = read_path(key)
        attribute = kind.find(kind.local(path.attribute))
        if attribute is None or attribute.writable:
            _apply(made, own, path, kind)


def _apply(made: Document, each: _Operation, path: Path, kind: Kind) -> None:
    if path.attribute.lower() == kind.extension.lower() and kind.extension and not path.part:
        _apply_extension(made, each, kind)
        return
    attribute = kind.find(kind.local(path.attribute))
    if attribute is None:
        raise InvalidPath(f"There is no attribute {path.attribute[:100]!r} of a {kind.name}.", fix="See /Schemas.")
    if not attribute.writable:
        raise NotChangeable(f"`{attribute.name}` cannot be changed.", fix="Leave it out.")
    part = None
    if path.part:
        part = attribute.part(path.part)
        if part is None:
            raise InvalidPath(f"`{attribute.name}` has no part {path.part[:100]!r}.", fix="See /Schemas.")
    if path.chosen is not None:
        _apply_chosen(made, each, attribute, path.chosen, part)
    elif part is not None:
        _apply_part(made, each, attribute, part)
    elif each.op == "remove":
        _remove(made, each, attribute)
    else:
        _set(made, each, attribute)


def _apply_extension(made: Document, each: _Operation, kind: Kind) -> None:
    if each.op == "remove":
        for attribute in kind.extended:
            made.pop(attribute.name, None)
    else:
        _apply_whole(made, _Operation(each.op, "", each.value, has_value=True), kind)


def _set(made: Document, each: _Operation, attribute: Attribute) -> None:
    value = read_attribute(attribute, each.value)
    before = made.get(attribute.name)
    if attribute.multi and each.op == "add":
        new = listed(value)
        value = [*_not_primary(listed(before), new), *_not_yet(listed(before), new)]
        if len(value) > attribute.values_max:
            raise TooManyAtOnce(f"`{attribute.name}` would have {len(value)} values.", fix="Keep fewer.")
    elif isinstance(value, dict) and isinstance(before, dict):
        value = {**before, **value}
    _keep(made, attribute, value)


def _remove(made: Document, each: _Operation, attribute: Attribute) -> None:
    if not (attribute.multi and each.has_value and each.value is not None):
        made.pop(attribute.name, None)
        return
    going = listed(read_attribute(attribute, each.value))
    keys = {_key(one) for one in going}
    _keep(made, attribute, [one for one in listed(made.get(attribute.name)) if _key(one) not in keys])


def _apply_part(made: Document, each: _Operation, attribute: Attribute, part: Attribute) -> None:
    """Change a part of the only value, or of all values."""
    value = None if each.op == "remove" else read_single(part, each.value)
    if attribute.multi:
        values: list[Json] = [_with(one, part, value) for one in listed(made.get(attribute.name))]
        if not values and value is not None:
            values = [{part.name: value}]
        _keep(made, attribute, values)
    else:
        _keep(made, attribute, _with(made.get(attribute.name), part, value))


def _apply_chosen(
    made: Document, each: _Operation, attribute: Attribute, chosen: Filter, part: Attribute | None
) -> None:
    """Change those values, or a part of those, for which a filter holds."""
    values = listed(made.get(attribute.name))
    hits = [value_meets(one, chosen, attribute) for one in values]
    if each.op == "remove":
        kept = [
            one if not hit else _with(one, part, None) if part is not None else None
            for one, hit in zip(values, hits, strict=True)
        ]
        _keep(made, attribute, [one for one in kept if one])
        return
    new = read_single(part, each.value) if part is not None else read_single(attribute, each.value)
    if not any(hits):
        begun = conditions_of(chosen, attribute)
        if begun is None:
            raise NoTarget("The path matches no value.", fix="Add the value first.")
        values, hits = [*values, begun], [*hits, True]
    merged: list[Json] = [
        one if not hit else _with(one, part, new) if part is not None else _merged(one, new)
        for one, hit in zip(values, hits, strict=True)
    ]
    if _is_primary([one for one, hit in zip(merged, hits, strict=True) if hit]):
        merged = [one if hit else _with_primary_off(one) for one, hit in zip(merged, hits, strict=True)]
    _keep(made, attribute, merged)


def _keep(made: Document, attribute: Attribute, value: Json) -> None:
    if value in (None, [], {}):
        made.pop(attribute.name, None)
    else:
        made[attribute.name] = value
    if attribute.multi and sum(_is_primary([one]) for one in listed(value)) > 1:
        raise ScimRefused(f"More than one of `{attribute.name}` is primary.", fix="Mark one.")


def _with(value: Json, part: Attribute, own: Json) -> Json:
    whole: Document = dict(value) if isinstance(value, dict) else {}
    if own is None:
        whole.pop(part.name, None)
    else:
        whole[part.name] = own
    return whole


def _merged(value: Json, new: Json) -> Json:
    return {**value, **new} if isinstance(value, dict) and isinstance(new, dict) else new


def _not_primary(before: Sequence[Json], new: Sequence[Json]) -> list[Json]:
    """Return the values there were, none of them primary where a new one is."""
    return [_with_primary_off(one) for one in before] if _is_primary(new) else list(before)


def _not_yet(before: Sequence[Json], new: Sequence[Json]) -> list[Json]:
    keys = {_key(one) for one in before}
    return [one for one in new if _key(one) not in keys]


def _is_primary(values: Iterable[Json]) -> bool:
    return any(isinstance(one, dict) and one.get("primary") is True for one in values)


def _with_primary_off(value: Json) -> Json:
    return {**value, "primary": False} if isinstance(value, dict) and value.get("primary") is True else value


def _key(value: Json) -> str:
    own = value.get("value") if isinstance(value, dict) else value
    return str(own).casefold()


def _skipped(kind: Kind, name: str) -> bool:
    """Tell whether it is about what is not kept here."""
    local = kind.local(name)
    head = local.partition("[")[0].partition(".")[0] if not local.lower().startswith("urn:") else local
    return kind.leaves_out(head) or local.lower() == "password"


def _copied(value: Json) -> Json:
    if isinstance(value, list):
        return [_copied(each) for each in value]
    return dict(value) if isinstance(value, dict) else value
