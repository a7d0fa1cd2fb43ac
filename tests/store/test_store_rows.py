"""Any event that can happen survives the way into the database and back."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from logs import everything, opened

from agentlab.core import events
from agentlab.core.digest import dhash
from agentlab.core.events import AnyBody, Event, ToolResult
from agentlab.store.base import Batch
from agentlab.store.rows import blob_row, pack

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20) | st.builds(lambda s, n: s * n, st.text(min_size=1, max_size=3), st.just(9000))
KEYS = st.text(max_size=5) | st.sampled_from(["$blob", "$$blob", "n", "head", "type"])
JSON = st.recursive(
    st.none() | st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    Any: JSON, str: TEXT, int: INT64, bool: st.booleans(), type(None): st.none(),
    float: st.floats(allow_nan=False, allow_infinity=False),
}  # fmt: skip


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return st.one_of([values(a) for a in args])
    if origin is tuple:
        return st.lists(values(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(KEYS, values(args[1]), max_size=3)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = typing.get_type_hints(kind, vars(events))
        return st.builds(kind, **{f: values(fields[f]) for f in kind.__struct_fields__})
    return st.sampled_from(kind)  # an enumeration


EVENTS = st.builds(
    Event,
    run_id=st.just("r"),
    ts=INT64,
    actor=st.text(),
    name=st.none() | st.text(),
    unit=st.none() | st.text(),
    status=st.none() | st.text(),
    cause=st.none() | INT64,
    dur_ns=st.none() | INT64,
    cost=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    body=st.one_of([values(body) for body in typing.get_args(AnyBody)]),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENTS, max_size=6))
def test_any_events_come_back_equal(drawn: list[Event]) -> None:
    written = [msgspec.structs.replace(e, id=i, seq=i) for i, e in enumerate(drawn, start=1)]

    async def round_trip(path: Path) -> list[Event]:
        async with opened(path) as store:
            await store.append(Batch(events=written))
            return await everything(store)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        read = asyncio.run(round_trip(path))
        assert read == written
        bodies = [[msgspec.json.encode(e.body) for e in log] for log in (read, written)]
        assert bodies[0] == bodies[1]  # 1, 1.0 and True are equal only to Python
        with sqlite3.connect(path) as db:
            rows = db.execute("SELECT type, dhash, json_valid(payload) FROM events ORDER BY id").fetchall()
        db.close()
    assert rows == [(e.type, dhash(e), 1) for e in written]


def test_what_stands_in_the_payload_for_a_large_value() -> None:
    body = ToolResult(call="c", output=["é" * 4097, "é" * 4096])
    packed = pack(Batch(events=[Event(id=1, run_id="r", seq=1, actor="a", body=body)]))
    (row,), (blob,) = packed.events, packed.blobs
    payload = msgspec.json.decode(str(row[-1]))
    assert payload["output"] == [{"$blob": blob.hash, "n": 8194, "head": "é" * 512}, "é" * 4096]
    assert blob.data == ("é" * 4097).encode()


def test_content_is_compressed_where_it_pays_only() -> None:
    noise = random.Random(1).randbytes(100_000)
    assert blob_row(events.Blob(hash="h", data=noise))[1:] == (100_000, "raw", noise)
    text = events.Blob(hash="h", data=b"the same line\n" * 1000)
    _, n, codec, data = blob_row(text)
    assert (n, codec) == (14_000, "zlib") and len(typing.cast(bytes, data)) < 1000
