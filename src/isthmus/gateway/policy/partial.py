"""Terms with everything known put in: what is left looks at the record only, or is decided for every record alike."""

from dataclasses import replace
from typing import NoReturn

from isthmus.gateway.policy.agreements import CONSENTS
from isthmus.gateway.policy.evaluate import EvaluationError, Facts, compile_term
from isthmus.gateway.policy.language import PolicyUnsupported
from isthmus.gateway.policy.terms import (
    FALSE,
    TRUE,
    And,
    Compare,
    Const,
    Contains,
    Get,
    Has,
    If,
    In,
    Like,
    Not,
    Or,
    SetOf,
    Term,
    Undecided,
    Var,
    parts,
)
from isthmus.kernel.errors import Fault

_AGREED = Get("resource", CONSENTS)


def reduced(term: Term, facts: Facts) -> Term:  # noqa: PLR0911 - one for each kind of term.
    """Return the term for any record of the type that `facts.resource` is of; the record's attributes stay open."""
    if not _open(term):
        return _decided(term, facts)
    match term:
        case Not(a):
            inner = reduced(a, facts)
            return _constant_not(inner)
        case And(a, b):
            left = reduced(a, facts)
            return left if left == FALSE or isinstance(left, Undecided) else _and(left, reduced(b, facts))
        case Or(a, b):
            left = reduced(a, facts)
            return left if left == TRUE or isinstance(left, Undecided) else _or(left, reduced(b, facts))
        case If(a, b, c):
            test = reduced(a, facts)
            if isinstance(test, Const | Undecided):
                return test if isinstance(test, Undecided) else reduced(b if test == TRUE else c, facts)
            return If(test, reduced(b, facts), reduced(c, facts))
        case Compare(_, a, b) | Contains(_, a, b):
            return replace(term, a=reduced(a, facts), b=reduced(b, facts))
        case Like(a):
            return replace(term, a=reduced(a, facts))
        case SetOf(items):
            return SetOf(tuple(reduced(each, facts) for each in items))
        case _:
            return term


def refuse_unfit(term: Term) -> None:
    """Raise PolicyUnsupported for what looks at a record in a way that no list can be filtered by."""
    within = [each for each in parts(term) if isinstance(each, Contains) and each.a == _AGREED and not _open(each.b)]
    if sum(each == _AGREED for each in parts(term)) > len(within):
        fix = 'Ask it for texts: resource.consents.contains("marketing"), containsAll([…]), containsAny([…]).'
        _refuse("The consents of a record stand where no list can be filtered by them.", fix)
    for each in parts(term):
        match each:
            case Contains(_, Get("resource", name)) if name == CONSENTS:
                fit = True
            case Compare(_, a, b):
                fit = all(_plain(side) for side in (a, b))
            case Contains("one", a, b):
                fit = not _open(a) and _plain(b)
            case Like(a):
                fit = _plain(a)
            case Not() | And() | Or() | If() | Get() | Has() | Var() | Const() | Undecided() | SetOf():
                fit = not isinstance(each, SetOf) or not _open(each)
            case _:
                fit = not _open(each)
        if not fit:
            detail = "An attribute of a record stands where no list can be filtered by it."
            fix = "Compare it with ==, !=, <, <=, >, >=, like, [..].contains(…), or the comparisons of decimals."
            _refuse(detail, fix)


def _refuse(detail: str, fix: str) -> NoReturn:
    fault = Fault(pointer="/text", code=PolicyUnsupported.code, detail=detail)
    raise PolicyUnsupported(detail, fix=fix, faults=(fault,))


def _plain(term: Term) -> bool:
    """Tell whether a term is an attribute of the record, the record itself, or does not look at it."""
    return isinstance(term, Get | Var) or not _open(term)


def _open(term: Term) -> bool:
    """Tell whether a term looks at the record: at its attributes, or at itself as an entity."""
    return any(
        (isinstance(each, Get | Has | In) and each.of == "resource")
        or (isinstance(each, Var) and each.name == "resource")
        for each in parts(term)
    )


def _decided(term: Term, facts: Facts) -> Term:
    try:
        return Const(compile_term(term)(facts))
    except EvaluationError as error:
        return Undecided(str(error))


def _constant_not(inner: Term) -> Term:
    if inner in {TRUE, FALSE}:
        return FALSE if inner == TRUE else TRUE
    if isinstance(inner, Const):
        return Undecided("not a boolean")
    return inner if isinstance(inner, Undecided) else Not(inner)


def _and(left: Term, right: Term) -> Term:
    if left != TRUE:
        return And(left, right) if not isinstance(left, Const) else Undecided("not a boolean")
    return Undecided("not a boolean") if isinstance(right, Const) and right not in {TRUE, FALSE} else right


def _or(left: Term, right: Term) -> Term:
    if left != FALSE:
        return Or(left, right) if not isinstance(left, Const) else Undecided("not a boolean")
    return Undecided("not a boolean") if isinstance(right, Const) and right not in {TRUE, FALSE} else right
