"""From Arrow to pandas: each kind of column has one dtype, for no rows, for all NULL, on every pandas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .kinds import ARROW, Columns, Kind

__all__ = ["Columns", "Kind", "from_batches", "from_records", "objects"]

_STRINGS = pa.large_string()
_CODES = pa.dictionary(pa.int32(), pa.string())


def from_batches(columns: Columns, batches: Iterable[pa.RecordBatch]) -> pd.DataFrame:
    """A frame of what is read, holding nothing of the batches: their memory goes as soon as the next one is there."""
    parts: list[list[pa.Array]] = [[] for _ in columns]
    for batch in batches:
        for kind, part, array in zip(columns.values(), parts, batch.columns, strict=True):
            part.append(_compact(kind, array))
    series: dict[str, Any] = {}
    for i, (name, kind) in enumerate(columns.items()):
        series[name] = _series(kind, parts[i])
        parts[i] = []
    return pd.DataFrame(series, copy=False)


def from_records(columns: Columns, records: Sequence[Sequence[object]]) -> pd.DataFrame:
    """A frame of tuples in the order of the columns. None is missing; times and spans are ns."""
    values: Iterable[Sequence[object]] = zip(*records, strict=True) if records else ((),) * len(columns)
    series = {
        name: _series(kind, [pa.array(column, ARROW[kind])])
        for (name, kind), column in zip(columns.items(), values, strict=True)
    }
    return pd.DataFrame(series, copy=False)


def objects(values: Sequence[object]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """A column of Python values. (Built element by element: numpy would look inside lists.)"""
    column = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        column[i] = value
    return column


def _compact(kind: Kind, array: pa.Array) -> pa.Array:
    """A copy without the buffers of its batch. (All columns of a batch of the driver live and die together.)"""
    if kind is Kind.CATEGORY:
        return array.dictionary_encode().cast(_CODES)
    return pa.concat_arrays([array, array.slice(0, 0)])


def _series(kind: Kind, arrays: list[pa.Array]) -> Any:
    match kind:
        case Kind.CATEGORY:
            return _categorical([a if pa.types.is_dictionary(a.type) else a.dictionary_encode() for a in arrays])
        case Kind.TEXT | Kind.JSON:
            chunks = pa.chunked_array([a.cast(_STRINGS) for a in arrays], _STRINGS)
            return _extension(pd.StringDtype("pyarrow"), chunks)
        case Kind.COUNT:
            return _extension(pd.Int64Dtype(), pa.chunked_array(arrays, pa.int64()))
        case Kind.TEXTS:
            return _extension(pd.ArrowDtype(ARROW[kind]), pa.chunked_array(arrays, ARROW[kind]))
        case Kind.TIME:
            return pd.Series(_ns(arrays).view("M8[ns]"), copy=False).dt.tz_localize("UTC")
        case Kind.SPAN:
            return _ns(arrays).view("m8[ns]")
        case _:
            return _numpy(pa.chunked_array(arrays, ARROW[kind]))


def _extension(dtype: Any, chunks: pa.ChunkedArray) -> Any:
    """By pandas' own way from Arrow, which its stubs do not know."""
    return dtype.__from_arrow__(chunks)


def _ns(arrays: list[pa.Array]) -> np.ndarray[Any, np.dtype[np.int64]]:
    nat = np.iinfo(np.int64).min
    return _numpy(pa.chunked_array(arrays, pa.int64()).fill_null(nat))


def _numpy(chunks: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    """One array that its owner may write to, as people expect of a frame."""
    return np.require(chunks.to_numpy(), requirements="W")


def _categorical(arrays: list[pa.Array]) -> Any:
    encoded = pa.chunked_array(arrays, _CODES).unify_dictionaries()
    names = encoded.chunk(0).dictionary if encoded.num_chunks else pa.array([], pa.string())
    order = pc.sort_indices(names)
    place = np.empty(len(names) + 1, dtype=np.int32)
    place[order.to_numpy()] = np.arange(len(names), dtype=np.int32)
    place[-1] = -1  # code -1, which is NULL, stays
    codes = [place[chunk.indices.fill_null(-1).to_numpy()] for chunk in encoded.chunks]
    sorted_names = pa.chunked_array([names.take(order).cast(_STRINGS)], _STRINGS)
    categories = pd.Index(_extension(pd.StringDtype("pyarrow"), sorted_names))
    return pd.Categorical.from_codes(np.concatenate(codes) if codes else np.array([], np.int32), categories=categories)
