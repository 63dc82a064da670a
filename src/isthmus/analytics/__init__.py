"""The catalog of published relations, and the mathematics of attribution, forecast and scoring."""

from isthmus.analytics._arrow import MissingColumn, Table, UnusableColumn
from isthmus.analytics._cells import FileMissing, UnreadableFile
from isthmus.analytics.attribution import Attribution, BucketCredit, assemble, attribute, credit
from isthmus.analytics.catalog import Edge, Metric, Relation, check, lineage
from isthmus.analytics.cents import split, split_many
from isthmus.analytics.files import FilesAnswer, Question, attribute_files
from isthmus.analytics.intervals import Interval, bootstrap_shares, bootstrap_total
from isthmus.analytics.ledger import ROLES, UNATTRIBUTED
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
    "Attribution",
    "BucketCredit",
    "DatedCredit",
    "Edge",
    "Figure",
    "FileMissing",
    "FilesAnswer",
    "Interval",
    "Mark",
    "Metric",
    "MissingColumn",
    "Model",
    "Payback",
    "Position",
    "Question",
    "Relation",
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
    "lineage",
    "payback",
    "return_on_investment",
    "roi_interval",
    "split",
    "split_many",
]
