"""Probable matches: who is found to be one, who is left to a person, and why."""

from random import Random

import numpy as np
import pytest

from isthmus.app.bench.match.people import Mishaps, People, generate
from isthmus.matching.probable.comparing import arrow, memory_database
from isthmus.matching.probable.finding import Bands, Found, find, reasons
from isthmus.matching.probable.people import PEOPLE

RECORDS = 6_000


def found_of(people: People, bands: Bands | None = None) -> Found:
    """What a run finds."""
    return find(PEOPLE, arrow(people.columns), bands=bands)


def share_right(found: Found, truth: list[int]) -> tuple[float, float]:
    """Precision and recall over all pairs that share a cluster."""
    who = np.array(truth)
    both = np.unique(found.firsts * (int(who.max()) + 1) + who, return_counts=True)[1]
    right = float((both * (both - 1)).sum())
    made, true = np.bincount(found.firsts), np.bincount(who)
    return right / float((made * (made - 1)).sum()), right / float((true * (true - 1)).sum())


@pytest.fixture(scope="module")
def people() -> People:
    """People in three systems."""
    return generate(Random(7), records=RECORDS)


@pytest.fixture(scope="module")
def found(people: People) -> Found:
    """What is found among them."""
    return found_of(people)


def test_nearly_all_records_of_one_human_are_brought_together_and_hardly_any_others(
    people: People, found: Found
) -> None:
    precision, recall = share_right(found, people.truth)
    assert precision > 0.995
    assert recall > 0.96


def test_the_model_expects_what_comes_true(people: People, found: Found) -> None:
    truth = np.array(people.truth)
    right = truth[found.automatic.left] == truth[found.automatic.right]
    assert abs(float(right.mean()) - found.expected) < 0.005


def test_no_cluster_holds_two_records_of_a_source_without_duplicates(people: People, found: Found) -> None:
    places = found.firsts * 8 + np.array(people.columns["sources"])
    assert len(np.unique(places)) == len(places)


def test_pairs_for_a_person_are_not_in_one_cluster_already(found: Found) -> None:
    assert len(found.review)
    assert (found.firsts[found.review.left] != found.firsts[found.review.right]).all()
    assert (found.review_chance >= Bands().review).all()


def test_each_pair_says_why(found: Found) -> None:
    said = reasons(PEOPLE, found.model, int(found.automatic.code[0]))
    assert {each.trait for each in said} <= {each.name for each in PEOPLE.traits}
    assert any(each.says.startswith("same") and each.bits > 0 for each in said)
    assert [abs(each.bits) for each in said] == sorted((abs(each.bits) for each in said), reverse=True)


def test_the_same_rows_give_the_same_clusters(people: People, found: Found) -> None:
    again = found_of(people)
    assert (again.firsts == found.firsts).all()
    assert (again.review.left == found.review.left).all()


def test_duplicates_inside_a_source_are_found_where_the_source_has_them() -> None:
    people = generate(Random(3), records=RECORDS, mishaps=Mishaps(twice=0.2))
    found = found_of(people)
    truth = np.array(people.truth)
    precision, recall = share_right(found, people.truth)
    inside = found.automatic.within
    assert inside.sum() > 100
    assert (truth[found.automatic.left[inside]] == truth[found.automatic.right[inside]]).mean() > 0.99
    assert precision > 0.99
    assert recall > 0.9


def test_a_number_that_many_families_hold_brings_nobody_together() -> None:
    count = 40
    families = [f"{a}{b}son" for a in ("ander", "peter", "wil", "thom", "rob") for b in "aeioutlm"]
    rows = arrow(
        {
            "sources": [1 << (n % 3) for n in range(count)],
            "first_name": [f"N{'abcdefgh'[n % 8]}a" for n in range(count)],
            "last_name": families,
            "email": [f"{each}@engines.example" for each in families],
            "phone": ["+49 30 1234567"] * count,
            "company": ["Engines GmbH"] * count,
            "city": ["Berlin"] * count,
        }
    )
    assert len(np.unique(find(PEOPLE, rows).firsts)) == count


def test_nobody_is_compared_with_nobody() -> None:
    empty: dict[str, list[str | None] | list[int]] = {"sources": [1, 2]}
    for trait in PEOPLE.traits:
        empty[trait.name] = ["", None]
    found = find(PEOPLE, arrow(empty))
    assert found.firsts.tolist() == [0, 1]
    assert not len(found.review)


def test_rows_are_never_spilled_to_disk() -> None:
    settings = memory_database(threads=1, memory_mib=64).execute(
        "select current_setting('temp_directory'), current_setting('max_temp_directory_size')"
    )
    assert settings.fetchone() == ("", "0 bytes")
