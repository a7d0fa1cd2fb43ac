"""Content by hash, out of a log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import cast

import pyarrow as pa

from agentlab.errors import StoreCorrupt
from agentlab.store.rows import blob_data

from . import queries
from .load import Log

_BLOB = pa.schema({"hash": pa.string(), "n": pa.int64(), "codec": pa.string(), "data": pa.binary()})
_SIZE = pa.schema({"hash": pa.string(), "n": pa.int64()})
_CUT = re.compile(r'"\$blob":"([0-9a-f]{64})"')

AT_ONCE = 16 * 1024 * 1024  # bytes of content that are read together
_MANY = 500  # hashes asked for together


def named_in(payloads: Iterable[str]) -> set[str]:
    """The hashes of the values that were taken out of these payloads."""
    return {hash for payload in payloads if '$blob"' in payload for hash in _CUT.findall(payload)}


def sizes(log: Log, hashes: Iterable[str]) -> dict[str, int]:
    """Bytes of those that the log has."""
    found: dict[str, int] = {}
    wanted = iter(sorted(set(hashes)))
    while some := list(islice(wanted, _MANY)):
        found |= dict(cast("list[tuple[str, int]]", log.rows(queries.blob_sizes(some), _SIZE)))
    return found


def contents(log: Log, hashes: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Hash and content of those that the log has, some megabytes in memory at a time.

    Raises StoreCorrupt: content that is not what its hash says.
    """
    for some in _portions(sizes(log, hashes)):
        for row in log.rows(queries.blobs(some), _BLOB):
            hash, n, codec, data = cast("tuple[str, int, str, bytes]", row)
            content = blob_data(n, codec, data)
            if sha256(content).hexdigest() != hash:
                raise StoreCorrupt(
                    f"The blob {hash} of {log.path} is damaged: its content has another hash.", hash=hash
                )
            yield hash, content


def _portions(sizes: dict[str, int]) -> Iterator[list[str]]:
    portion: list[str] = []
    filled = 0
    for hash, n in sizes.items():
        if portion and (filled + n > AT_ONCE or len(portion) == _MANY):
            yield portion
            portion, filled = [], 0
        portion.append(hash)
        filled += n
    if portion:
        yield portion
