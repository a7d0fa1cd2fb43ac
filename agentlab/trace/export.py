"""A run as a file of its own: Parquet for analysis, JSON lines for everything else. Streaming: memory stays small."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec
import pyarrow as pa

from agentlab.errors import NotFound

from . import queries
from .kinds import ARROW, Kind, schema_of
from .load import Log

_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    Kind.CATEGORY: _DICTIONARY,
    Kind.TIME: pa.timestamp("ns", "UTC"),
    Kind.SPAN: pa.duration("ns"),
}


def to_parquet(db: str | Path, run_id: str, file: str | Path) -> int:
    """Write the events of a run, all columns of `events_df` with the payload as text, and say how many.

    The file appears whole or not at all, readable by its owner alone. Raises NotFound: there is no such run.
    """
    import pyarrow.parquet as pq

    batches = _batches(db, run_id)
    target = Path(file)
    making = target.with_name(f".{target.name}.{os.getpid()}.making")
    schema = pa.schema([(name, _TYPES.get(kind, ARROW[kind])) for name, kind in queries.EVENTS.items()])
    count = 0
    fd = os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as out, pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for batch in batches:
                columns = [column.cast(field.type) for column, field in zip(batch.columns, schema, strict=True)]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
                count += batch.num_rows
        making.replace(target)
    finally:
        making.unlink(missing_ok=True)
    return count


def to_json(db: str | Path, run_id: str, fp: TextIO) -> int:
    """Write the events of a run, one JSON object a line, and say how many.

    Keys are the columns of the log, without those that are NULL; `ts` and `dur_ns` are ns; `payload` is the object.
    Raises NotFound: there is no such run.
    """
    encoder = msgspec.json.Encoder()
    count = 0
    names = ["dur_ns" if name == "dur" else name for name in queries.EVENTS]
    for batch in _batches(db, run_id):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            event = {name: value for name, value in zip(names, values, strict=True) if value is not None}
            event["payload"] = msgspec.Raw(event["payload"].encode())
            fp.write(encoder.encode(event).decode() + "\n")
            count += 1
    return count


def _batches(db: str | Path, run_id: str) -> Iterator[pa.RecordBatch]:
    log = Log(db)
    if not log.rows(queries.runs(queries.of_runs(run_id)), schema_of(queries.RUNS)):
        raise NotFound(f"There is no run {run_id} in {log.path}. runs_df() lists those there are.", run=run_id)
    return log.batches(queries.events(queries.EVENTS, queries.of_runs(run_id)), schema_of(queries.EVENTS))
