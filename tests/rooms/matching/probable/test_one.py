"""One row against candidates: what is told of it is what a whole run tells."""

from collections import defaultdict
from random import Random

import numpy as np
import pytest

from isthmus.app.bench.match.people import Mishaps, People, generate
from isthmus.matching.probable.cluster import Edges
from isthmus.matching.probable.comparing import Comparing, arrow
from isthmus.matching.probable.likeness import jaro_winkler, within_one_edit
from isthmus.matching.probable.model import learn
from isthmus.matching.probable.one import Probe, Row, learned
from isthmus.matching.probable.people import PEOPLE

STRANGE = {
    "first_name": ("Zoë", "Ñandú", " J. ", "Bärbel", "李", "O'Neil", "Dr Ann-Marie"),
    "last_name": ("Müller-Lüdenscheidt", "D'Artagnan", "Søren", "Weiß", "van der Berg", "Łukasz", "X"),
    "email": ("INFO@acme.example", "a@b@c.example", "plain", "zoë.1987@gmail.com", " Jim@Acme.Example ", "@x", "x@"),
    "phone": ("(030) 12-34", "12", "+49 30 12345678", "tel:+1 202-555-0100", "١٢٣٤", "0000", ""),
    "company": ("AG", "Acme & Sons, Inc.", "The S.A. Group", "Ümlaut GmbH & Co. KG", "3M", "İstanbul A.Ş.", "-"),
    "city": ("São Paulo", "St.  Gallen", "", "New-York", "Köln", "東京", "'s-Hertogenbosch"),
}


@pytest.fixture(scope="module")
def people() -> People:
    """People in three systems, some with values that are hard to make comparable."""
    made = generate(Random(5), records=4_000, mishaps=Mishaps(phone_other=0.2))
    for name, values in STRANGE.items():
        column = made.columns[name]
        for n in range(2 * len(values)):
            column[n] = values[n % len(values)]  # pyright: ignore[reportArgumentType, reportCallIssue] - a column of text.
    return made


@pytest.fixture(scope="module")
def run(people: People) -> tuple[Probe, Edges]:
    """What a run over all of them learned and found."""
    comparing = Comparing(PEOPLE, arrow(people.columns))
    model = learn(comparing.compare(), comparing.met())
    found = Probe(PEOPLE, learned(comparing, model, rows=len(people.truth))), comparing.weigh(model)
    comparing.close()
    return found


def rows_of(people: People) -> list[Row]:
    """The records as rows."""
    sources = np.array(people.columns["sources"]).tolist()
    columns = {each.name: people.columns[each.name] for each in PEOPLE.traits}
    return [
        Row({name: str(each[n]) if each[n] is not None else None for name, each in columns.items()}, sources[n])
        for n in range(len(sources))
    ]


def test_single_rows_have_the_levels_that_all_rows_have(people: People, run: tuple[Probe, Edges]) -> None:
    probe, edges = run
    rows = rows_of(people)
    lefts: list[int] = edges.left.tolist()
    rights: list[int] = edges.right.tolist()
    codes: list[int] = edges.code.tolist()
    pairs = list(zip(lefts, rights, codes, strict=True))
    assert len(pairs) > 1_000
    other = [(left, right) for left, right, code in pairs if probe.compare(rows[left], [rows[right]])[0].code != code]
    assert other == []


def test_rows_that_a_run_compared_share_a_key(people: People, run: tuple[Probe, Edges]) -> None:
    probe, edges = run
    held = [set(probe.keys(each)) for each in rows_of(people)]
    apart = [(a, b) for a, b in zip(edges.left.tolist(), edges.right.tolist(), strict=True) if not held[a] & held[b]]
    assert apart == []


def test_a_single_row_finds_those_who_are_the_same_human(people: People, run: tuple[Probe, Edges]) -> None:
    probe, rows = run[0], rows_of(people)
    holders: dict[str, list[int]] = defaultdict(list)
    for n, row in enumerate(rows):
        for key in probe.keys(row):
            holders[key].append(n)
    right = wrong = 0
    for n in range(100, 300):
        near = sorted({each for key in probe.keys(rows[n]) for each in holders[key]} - {n})
        for likely in probe.compare(rows[n], [rows[each] for each in near]):
            if likely.chance >= 0.8:
                right += people.truth[near[likely.position]] == people.truth[n]
                wrong += people.truth[near[likely.position]] != people.truth[n]
    assert right > 200
    assert wrong <= 2


def test_nobody_stands_against_a_row_without_candidates(run: tuple[Probe, Edges]) -> None:
    assert run[0].compare(Row({"first_name": "Ada"}, 1), []) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("martha", "marhta", 0.9611), ("dixon", "dicksonx", 0.8133), ("abc", "xyz", 0.0), ("same", "same", 1.0)],
)
def test_words_are_as_alike_as_the_literature_has_them(one: str, other: str, expected: float) -> None:
    assert jaro_winkler(one, other) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [("abc", "acb", True), ("abc", "ab", True), ("abc", "abcd", True), ("abc", "cba", False), ("", "ab", False)],
)
def test_one_slip_of_the_hand_is_told_from_two(one: str, other: str, *, near: bool) -> None:
    assert within_one_edit(one, other) is near
