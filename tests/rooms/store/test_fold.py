"""The state of a record is a function of the set of claims, and each rule decides as it says."""

import random
from collections.abc import Mapping
from typing import Annotated, get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from isthmus.kernel.marks import CRITICAL, Json, RecordType, Rule, RuleName
from isthmus.store.fold import GONE, HERE, Claim, State, fold, open_cases, step

FIRST = Claim(1, "crm", "a", {"name": "Ada", "amount": 100, "stage": "new"})


class Thing(Struct, frozen=True, kw_only=True):
    """A record type of these tests, with one field for each rule."""

    name: str | None = None
    amount: Annotated[int | None, CRITICAL] = None
    stage: Annotated[str | None, Rule("advance_only", order=("new", "open", "won"))] = None
    consent: Annotated[str | None, Rule("most_restrictive", order=("granted", "withdrawn"))] = None
    optin: Annotated[str | None, CRITICAL, Rule("most_restrictive", order=("granted", "withdrawn"))] = None
    owner: Annotated[str | None, Rule("source_of_record", system="crm")] = None
    nick: Annotated[str | None, Rule("prefer_unless_blank", system="crm")] = None
    tags: Annotated[list[str], Rule("union")] = []
    at: str | None = None


THING = RecordType.of(Thing, name="test.thing", prefix="thng", retention_days=1)


def claim(hlc: int, system: str, **said: Json) -> Claim:
    """One word of a system."""
    return Claim(hlc, system, "a", said)


def after(*claims: Claim) -> State:
    """The state after claims."""
    return fold(THING, claims)


def test_when_only_one_side_moved_it_wins() -> None:
    state = after(FIRST, claim(2, "erp", name="Ada"), claim(3, "erp", name="Ada Lovelace"))
    assert state.values()["name"] == "Ada Lovelace"
    assert state.decisions[-1].verdict == "moved"


def test_a_repeated_word_changes_nothing() -> None:
    state = after(FIRST, claim(2, "erp", name="Grace"), claim(3, "crm", name="Ada"))
    assert state.values()["name"] == "Grace"


def test_when_both_moved_the_later_word_wins_and_the_loser_stays_in_the_trail() -> None:
    base = (FIRST, claim(2, "erp", name="Ada"))
    state = after(*base, claim(3, "crm", name="Countess"), claim(4, "erp", name="Lovelace"))
    assert state.values()["name"] == "Lovelace"
    assert [each.value for each in state.decisions if each.field == "name"] == ["Ada", "Ada", "Countess", "Lovelace"]


def test_a_critical_field_that_both_moved_keeps_its_value_and_opens_a_case() -> None:
    base = (FIRST, claim(2, "erp", amount=100))
    state = after(*base, claim(3, "crm", amount=120), claim(4, "erp", amount=90))
    assert state.values()["amount"] == 120
    assert open_cases(state) == {"amount": ((3, "crm", "a"), (4, "erp", "a"))}


def test_a_case_closes_when_a_person_decides_and_the_decision_stands() -> None:
    contested = (FIRST, claim(2, "erp", amount=100), claim(3, "crm", amount=120), claim(4, "erp", amount=90))
    decided = Claim(5, HERE, "x", {"amount": 90}, seen={"amount": 120}, settles=frozenset({"amount"}))
    state = after(*contested, decided, claim(6, "crm", amount=120))
    assert state.values()["amount"] == 90
    assert not open_cases(state)


def test_a_case_dissolves_when_the_systems_come_to_agree() -> None:
    contested = (FIRST, claim(2, "erp", amount=100), claim(3, "crm", amount=120), claim(4, "erp", amount=90))
    assert not open_cases(after(*contested, claim(5, "erp", amount=120)))


def test_the_holder_of_a_contested_field_may_move_its_own_value() -> None:
    contested = (FIRST, claim(2, "erp", amount=100), claim(3, "crm", amount=120), claim(4, "erp", amount=90))
    state = after(*contested, claim(5, "crm", amount=130))
    assert state.values()["amount"] == 130
    assert "amount" in open_cases(state)


def test_an_edit_here_is_compared_with_what_its_author_saw() -> None:
    edit = Claim(3, HERE, "x", {"amount": 80}, seen={"amount": 100})
    assert after(FIRST, edit).values()["amount"] == 80
    late = after(FIRST, claim(2, "crm", amount=120), edit)
    assert late.values()["amount"] == 120
    assert "amount" in open_cases(late)


def test_first_words_that_differ_on_a_critical_field_wait_for_a_person() -> None:
    assert "amount" in open_cases(after(FIRST, claim(2, "erp", amount=99)))


def test_a_system_that_keeps_only_dates_does_not_take_the_time_of_day_away() -> None:
    exact, day = "2026-11-03T13:10:34Z", "2026-11-03T00:00:00Z"
    state = after(claim(1, "crm", at=exact), claim(2, "erp", at=day))
    assert state.values()["at"] == exact
    assert state.decisions[-1].verdict == "agreed"
    assert after(claim(1, "erp", at=day), claim(2, "crm", at=exact)).values()["at"] == exact
    moved = "2026-11-04T00:00:00Z"
    assert after(claim(1, "crm", at=exact), claim(2, "erp", at=day), claim(3, "erp", at=moved)).values()["at"] == moved


def test_midnight_counts_when_a_person_or_a_system_with_a_finer_clock_says_it() -> None:
    exact, day = "2026-11-03T13:10:34Z", "2026-11-03T00:00:00Z"
    assert after(claim(1, "crm", at=exact), claim(2, "crm", at=day)).values()["at"] == day
    edit = Claim(2, HERE, "record", {"at": day}, seen={"at": exact})
    assert after(claim(1, "crm", at=exact), edit).values()["at"] == day


def test_what_stands_against_a_deletion_is_the_newest_word_of_somebody_else() -> None:
    edit = Claim(2, HERE, "record", {"name": "Lovelace"}, seen={"name": "Ada"})
    state = after(FIRST, edit, Claim(3, "crm", "a", {}, deleted=True))
    assert open_cases(state) == {GONE: ((2, HERE, "record"), (3, "crm", "a"))}


def test_a_blank_first_word_takes_nothing_away_and_a_later_blank_is_a_change() -> None:
    assert after(FIRST, claim(2, "erp", name="")).values()["name"] == "Ada"
    assert after(FIRST, claim(2, "crm", name=None)).values()["name"] is None


def test_a_stage_only_advances() -> None:
    assert after(FIRST, claim(2, "crm", stage="open"), claim(3, "crm", stage="new")).values()["stage"] == "open"
    assert after(FIRST, claim(2, "crm", stage="won")).values()["stage"] == "won"


def test_the_more_restrictive_consent_wins_whatever_came_last() -> None:
    state = after(claim(1, "crm", consent="withdrawn"), claim(2, "mail", consent="granted"))
    assert state.values()["consent"] == "withdrawn"


def test_a_critical_consent_tightens_at_once_and_loosens_only_by_a_person() -> None:
    tightened = after(claim(1, "crm", optin="granted"), claim(2, "mail", optin="withdrawn"))
    assert tightened.values()["optin"] == "withdrawn"
    assert not open_cases(tightened)
    loosened = after(claim(1, "crm", optin="withdrawn"), claim(2, "mail", optin="granted"))
    assert loosened.values()["optin"] == "withdrawn"
    assert "optin" in open_cases(loosened)


def test_the_source_of_record_wins_and_others_win_over_others() -> None:
    assert after(claim(1, "crm", owner="a"), claim(2, "erp", owner="b")).values()["owner"] == "a"
    assert after(claim(1, "erp", owner="b"), claim(2, "crm", owner="a")).values()["owner"] == "a"
    assert after(claim(1, "erp", owner="b"), claim(2, "mail", owner="c")).values()["owner"] == "c"


def test_a_preferred_system_wins_unless_it_is_blank() -> None:
    assert after(claim(1, "crm", nick="A"), claim(2, "erp", nick="B")).values()["nick"] == "A"
    assert after(claim(1, "crm", nick=""), claim(2, "erp", nick="B")).values()["nick"] == "B"


def test_lists_under_union_keep_what_both_sides_added() -> None:
    assert after(claim(1, "crm", tags=["a"]), claim(2, "erp", tags=["b"])).values()["tags"] == ["a", "b"]


def test_a_deletion_by_the_only_holder_is_taken_and_a_new_word_brings_the_record_back() -> None:
    gone = after(FIRST, Claim(2, "crm", "a", {}, deleted=True))
    assert gone.deleted
    assert not after(FIRST, Claim(2, "crm", "a", {}, deleted=True), claim(3, "crm", name="Ada")).deleted


def test_a_deletion_against_an_update_waits_for_a_person() -> None:
    state = after(FIRST, claim(2, "erp", name="Ada"), Claim(3, "crm", "a", {}, deleted=True))
    assert not state.deleted
    assert GONE in open_cases(state)
    decided = Claim(4, HERE, "x", {}, settles=frozenset({GONE}), deleted=True)
    settled = after(FIRST, claim(2, "erp", name="Ada"), Claim(3, "crm", "a", {}, deleted=True), decided)
    assert settled.deleted
    assert not open_cases(settled)


def test_a_decision_that_is_taken_back_leaves_the_field_waiting_until_both_sides_agree() -> None:
    crm, erp = claim(1, "crm", amount=1), claim(2, "erp", amount=2)
    settled = Claim(3, HERE, "x", {"amount": 2}, settles=frozenset({"amount"}))
    back = Claim(4, HERE, "x", {"amount": 1}, seen={"amount": 2}, reopens={"amount": erp.place})
    state = after(crm, erp, settled, back)
    assert (state.values()["amount"], open_cases(state)) == (1, {"amount": (back.place, erp.place)})
    assert open_cases(after(crm, erp, settled, back, claim(5, "erp", amount=3))) == {
        "amount": (back.place, (5, "erp", "a"))
    }
    assert not open_cases(after(crm, erp, settled, back, claim(5, "erp", amount=1)))


VALUES: Mapping[str, st.SearchStrategy[Json]] = {
    "name": st.sampled_from(["", None, "x", "y", "z"]),
    "amount": st.sampled_from([None, 1, 2, 3]),
    "stage": st.sampled_from(["new", "open", "won", "odd"]),
    "consent": st.sampled_from(["withdrawn", "granted"]),
    "owner": st.sampled_from(["a", "b"]),
    "tags": st.sampled_from([[], ["p"], ["q"], ["p", "q"]]),
}
ORDER = ("new", "open", "won", "granted", "withdrawn")
RULES = st.sampled_from([Rule(name, order=ORDER) for name in get_args(RuleName)])
CLAIMS = st.builds(
    Claim,
    hlc=st.integers(1, 12),
    system=st.sampled_from(["crm", "erp", HERE]),
    external_id=st.sampled_from(["a", "b"]),
    said=st.fixed_dictionaries({}, optional=dict(VALUES)),
    seen=st.none() | st.fixed_dictionaries({}, optional=dict(VALUES)),
    settles=st.sampled_from([frozenset[str](), frozenset({"amount"}), frozenset({GONE})]),
    deleted=st.sampled_from([False, False, False, True]),
    reopens=st.sampled_from([None, None, {"amount": (1, "crm", "a")}, {GONE: (2, "erp", "b")}]),
    rules=st.none() | st.dictionaries(st.sampled_from(sorted(VALUES)), RULES, max_size=3),
    span=st.none() | st.tuples(st.integers(0, 3), st.integers(3, 9)),
)


@given(st.lists(CLAIMS, max_size=12, unique_by=lambda each: each.place), st.integers(0, 2**32))
@settings(max_examples=400, deadline=None)
def test_order_repetition_and_batches_do_not_matter(claims: list[Claim], seed: int) -> None:
    generator = random.Random(seed)
    shuffled = claims + generator.choices(claims, k=3) if claims else []
    generator.shuffle(shuffled)
    assert fold(THING, shuffled) == fold(THING, claims)


@given(st.lists(CLAIMS, max_size=12, unique_by=lambda each: each.place))
@settings(max_examples=200, deadline=None)
def test_stepping_through_the_trail_equals_folding_it(claims: list[Claim]) -> None:
    state = State()
    for each in sorted(claims, key=lambda one: one.place):
        step(THING, state, each)
    assert state == fold(THING, claims)


@given(st.lists(CLAIMS, max_size=12, unique_by=lambda each: each.place))
@settings(max_examples=200, deadline=None)
def test_no_word_vanishes_without_a_decision_or_an_equal_word_before_it(claims: list[Claim]) -> None:
    state = fold(THING, claims)
    decided = {(each.place, each.field) for each in state.decisions}
    shadows: dict[tuple[str, str], dict[str, Json]] = {}
    for each in sorted(claims, key=lambda one: one.place):
        shadow = shadows.setdefault((each.system, each.external_id), {})
        if each.deleted and GONE not in each.settles and GONE not in (each.reopens or {}):
            shadow.clear()
        for name, value in each.said.items():
            before = (each.seen or {}).get(name, shadow.get(name, object()))
            assert (each.place, name) in decided or before == value
            shadow[name] = value
