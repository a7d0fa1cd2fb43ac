"""What columns of frames hold, and the one dtype of each kind, the same for no rows, for all NULL, on every pandas.

category   few different strings: pandas categorical, categories sorted
text       string[pyarrow], missing is <NA>
count      Int64, missing is <NA>          number     int64, never missing
amount     float64, missing is NaN         flag       bool, never missing
time       datetime64[ns, UTC] from ns since the epoch          span       timedelta64[ns] from ns
texts      list<string> of Arrow: a list of strings a row
json       text of JSON, or Python values where asked for (dtype object)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import pyarrow as pa


class Kind(Enum):
    CATEGORY = "category"
    TEXT = "text"
    NUMBER = "number"
    COUNT = "count"
    AMOUNT = "amount"
    FLAG = "flag"
    TIME = "time"
    SPAN = "span"
    TEXTS = "texts"
    JSON = "json"


Columns = Mapping[str, Kind]

ARROW = {
    Kind.CATEGORY: pa.string(),
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.NUMBER: pa.int64(),
    Kind.COUNT: pa.int64(),
    Kind.TIME: pa.int64(),
    Kind.SPAN: pa.int64(),
    Kind.AMOUNT: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.TEXTS: pa.list_(pa.string()),
}


def schema_of(columns: Columns) -> pa.Schema:
    """How the columns come from the database."""
    return pa.schema([(name, ARROW[kind]) for name, kind in columns.items()])
