"""Between events and rows of the database: pure functions, no connection in sight.

A string of more than `BIG` bytes inside a payload goes to the blobs; `{"$blob": hash, "n": bytes, "head": ...}` stands
in its place. Agents may well send a key `$blob` of their own: such a key is written with one more `$`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from agentlab.core.digest import dhash
from agentlab.core.events import Blob, Event, RunEnd, RunStart, decode_payload, encode_payload
from agentlab.errors import BadRequest, StoreCorrupt

from .base import Batch
from .schema import SCHEMA_VERSION

BIG = 8192  # bytes; a longer string is stored as a blob
HEAD = 512  # characters of it that stay in the payload, for people and for SQL
KEY = "$blob"

Value = str | int | float | bytes | None
Row = tuple[Value, ...]
"""One row, in the order of its table's columns."""


class Packed(Struct):
    """A batch as rows, by table."""

    events: list[Row]
    started: list[Row]  # of runs, whole
    ended: list[Row]  # (status, ended, final_tree, n_events, run_id)
    blobs: list[Blob]
    snapshots: list[Row]
    journals: list[Row]


def pack(batch: Batch) -> Packed:
    """The rows of a batch. Raises BadRequest, and nothing has happened: an event that no log can hold."""
    packed = Packed([], [], [], list(batch.blobs), [], list(batch.journals.items()))
    for event in batch.events:
        try:
            packed.events.append(_event_row(event, packed.blobs))
        except (UnicodeError, TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise BadRequest(
                f"Event {event.id} ({event.type} of {event.run_id}, seq {event.seq}) cannot be written: {error}. "
                f"Nothing of its batch was.",
                id=event.id,
            ) from error
        body = event.body
        if isinstance(body, RunStart):
            packed.started.append(_run_row(event, body))
        elif isinstance(body, RunEnd):
            packed.ended.append((event.status, event.ts, body.final_tree, event.seq, event.run_id))
    packed.snapshots.extend((s.run_id, s.seq, s.tree, s.manifest) for s in batch.snapshots)
    return packed


def _event_row(event: Event, blobs: list[Blob]) -> Row:
    payload = encode_payload(event.body)
    if len(payload) > BIG or b'$blob"' in payload:
        payload = _spill(payload, blobs)
    return (
        event.id, event.run_id, event.seq, event.ts, event.type, event.actor, event.session_id, event.task_id,
        event.span, event.parent, event.cause, event.name, event.unit, event.status,
        event.dur_ns, event.tok_in, event.tok_out, event.tok_cache, event.cost, dhash(event), payload.decode(),
    )  # fmt: skip


def unpack(row: Iterable[Any], fetch: Callable[[str], bytes | None]) -> Event:
    """The event of a row with all `EVENT_COLUMNS`. `fetch` gives the content of a blob."""
    (id, run_id, seq, ts, type, actor, session_id, task_id, span, parent, cause,
     name, unit, status, dur_ns, tok_in, tok_out, tok_cache, cost, _, payload) = row  # fmt: skip
    return Event(
        id=id, run_id=run_id, seq=seq, ts=ts, actor=actor, session_id=session_id, task_id=task_id, span=span,
        parent=parent, cause=cause, name=name, unit=unit, status=status, dur_ns=dur_ns,
        tok_in=tok_in, tok_out=tok_out, tok_cache=tok_cache, cost=cost,
        body=decode_payload(restore(payload, fetch), type),
    )  # fmt: skip


def _run_row(event: Event, body: RunStart) -> Row:
    config = {
        "root": body.root,
        "host": body.host,
        "schedule": body.schedule,
        "claims": body.claims,
        "auto_end": body.auto_end,
        "user": body.user,
        "session_kind": body.session_kind,
        "env": body.env,
        "nondet": body.nondet,
        "versions": body.versions,
    }
    return (
        event.run_id, body.parent_run_id, body.fork_seq, event.session_id, body.name, body.source, None,
        event.status or "running", event.ts, None, body.base_tree, None, None, SCHEMA_VERSION,
        msgspec.json.encode(config).decode(),
    )  # fmt: skip


# --- large values ------------------------------------------------------------------------------------------


def _spill(payload: bytes, blobs: list[Blob]) -> bytes:
    def walk(value: Any) -> Any:
        if isinstance(value, str):
            # A character is at most four bytes: most strings are judged without encoding them.
            if len(value) * 4 <= BIG or len(data := value.encode()) <= BIG:
                return value
            digest = sha256(data).hexdigest()
            blobs.append(Blob(hash=digest, data=data))
            return {KEY: digest, "n": len(data), "head": value[:HEAD]}
        if isinstance(value, dict):
            return {("$" + k if _is_key(k) else k): walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return value

    return msgspec.json.encode(walk(msgspec.json.decode(payload)))


def restore(payload: str, fetch: Callable[[str], bytes | None]) -> str:
    """The payload as it was before its large values were taken out. Raises StoreCorrupt: a blob is not there."""
    if '$blob"' not in payload:
        return payload

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            if KEY in value:
                data = fetch(value[KEY])
                if data is None:
                    raise StoreCorrupt(f"The log names the blob {value[KEY]}, which is not in it.", hash=value[KEY])
                return data.decode()
            return {(k[1:] if _is_key(k) else k): walk(v) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v) for v in value]
        return value

    return msgspec.json.encode(walk(msgspec.json.decode(payload))).decode()


def _is_key(key: str) -> bool:
    return key.endswith(KEY) and key.strip("$") == "blob"


# --- blobs -------------------------------------------------------------------------------------------------

_SAMPLE = 64 * 1024


def blob_row(blob: Blob) -> Row:
    """Compressed where that saves a tenth, which a sample decides for large ones. Fast rather than small: commits wait."""
    data = blob.data
    if len(data) >= 256 and _pays(zlib.compress(data[:_SAMPLE], 1), data[:_SAMPLE]):
        packed = zlib.compress(data, 1)
        if _pays(packed, data):
            return (blob.hash, len(data), "zlib", packed)
    return (blob.hash, len(data), "raw", data)


def _pays(packed: bytes, data: bytes) -> bool:
    return len(packed) * 10 <= len(data) * 9


def blob_data(n: int, codec: str, data: bytes) -> bytes:
    """The content of a row of blobs. Raises StoreCorrupt."""
    try:
        content = zlib.decompress(data, bufsize=max(n, 1)) if codec == "zlib" else data
    except zlib.error as error:
        raise StoreCorrupt(f"A blob of the log is damaged: {error}.") from error
    if len(content) != n:
        raise StoreCorrupt(f"A blob of the log is damaged: {len(content)} bytes where {n} were written.")
    return content
