"""The catalog of published relations, and the mathematics of attribution, forecast and scoring."""

from isthmus.analytics._arrow import MissingColumn, Table, UnusableColumn
from isthmus.analytics._cells import FileMissing, UnreadableFile
from isthmus.analytics.asking import Catalog, relation_of
from isthmus.analytics.attribution import Attribution, BucketCredit, assemble, attribute, credit
from isthmus.analytics.catalog import Edge, Metric, Relation, check, lineage
from isthmus.analytics.cents import split, split_many
from isthmus.analytics.credits import (
    Asked,
    Credits,
    Journey,
    Ledgers,
    StepCredit,
    credited,
    dated_credit,
    journeys_with,
    revenue_intervals,
)
from isthmus.analytics.files import FilesAnswer, Question, attribute_files
from isthmus.analytics.intervals import Interval, bootstrap_shares, bootstrap_total
from isthmus.analytics.ledger import ROLES, UNATTRIBUTED
from isthmus.analytics.questions import CreditQuery
from isthmus.analytics.roi import (
    DatedCredit,
    Figure,
    Payback,
    acquisition_cost,
    payback,
    return_on_investment,
    roi_interval,
)
from isthmus.analytics.rules import MODELS, POSITIONS, Mark, Model, Position

__all__ = [
    "MODELS",
    "POSITIONS",
    "ROLES",
    "UNATTRIBUTED",
    "Asked",
    "Attribution",
    "BucketCredit",
    "Catalog",
    "CreditQuery",
    "Credits",
    "DatedCredit",
    "Edge",
    "Figure",
    "FileMissing",
    "FilesAnswer",
    "Interval",
    "Journey",
    "Ledgers",
    "Mark",
    "Metric",
    "MissingColumn",
    "Model",
    "Payback",
    "Position",
    "Question",
    "Relation",
    "StepCredit",
    "Table",
    "UnreadableFile",
    "UnusableColumn",
    "acquisition_cost",
    "assemble",
    "attribute",
    "attribute_files",
    "bootstrap_shares",
    "bootstrap_total",
    "check",
    "credit",
    "credited",
    "dated_credit",
    "journeys_with",
    "lineage",
    "payback",
    "relation_of",
    "return_on_investment",
    "revenue_intervals",
    "roi_interval",
    "split",
    "split_many",
]
