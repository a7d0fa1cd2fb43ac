"""Loading a run as DataFrames: `events_df` against bare ADBC-to-Arrow and `pandas.read_sql_query`, same columns.

    python -m benchmarks.frames [--events 1000000]

Each reader runs in a process of its own, in interleaved rounds; the least time counts, and the peak memory above the
process with everything imported. The database is synthetic, has payloads of about 360 bytes and one run, and is kept
in the temporary directory for the next time.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from .measure import Measure, against, show

EVENTS = 1_000_000
ROUNDS = 3
TIME_TARGET = 1.5  # times bare ADBC
MEMORY_TARGET = 0.4  # of pandas.read_sql_query
RUN = "bench"
T0 = 1_700_000_000_000_000_000

NARROW = (
    "run_id", "seq", "ts", "type", "actor", "session_id", "task_id", "span", "parent", "cause", "name", "unit",
    "status", "dur_ns", "tok_in", "tok_out", "tok_cache", "cost", "dhash",
)  # fmt: skip


def run(quick: bool = False, events: int | None = None) -> list[Measure]:
    events = events or (20_000 if quick else EVENTS)
    db = database(events)
    best: dict[str, tuple[float, float]] = {}
    rounds = 1 if quick else ROUNDS
    for _ in range(rounds):
        for reader in READERS:
            seconds, megabytes = _measured(db, reader)
            least = best.get(reader, (seconds, megabytes))
            best[reader] = (min(least[0], seconds), min(least[1], megabytes))
    name, note = f"run.events(), {events:,} events", f"least of {rounds}"
    whole, narrow = f"{name}, with payload", f"{name}, no payload"
    return [
        _row(whole, best["ours"][0], "s", "bare ADBC to Arrow", best["adbc"][0], TIME_TARGET, note),
        _row(whole, best["ours"][1], "MB", "pandas.read_sql_query", best["read_sql"][1], MEMORY_TARGET, note),
        _row(whole, best["ours"][0], "s", "pandas.read_sql_query", best["read_sql"][0], None, note),
        _row(narrow, best["ours_narrow"][0], "s", "bare ADBC to Arrow", best["adbc_narrow"][0], TIME_TARGET, note),
    ]


def _row(name: str, ours: float, unit: str, peer_name: str, peer: float, target: float | None, note: str) -> Measure:
    return against(name, ours, unit, peer_name, peer, target=target, better="lower", note=note)


def _measured(db: Path, reader: str) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.frames", "--reader", reader, "--db", str(db)]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    seconds, megabytes = json.loads(done.stdout)
    return seconds, megabytes


# --- the readers, one a process ----------------------------------------------------------------------------


def _ours(db: Path) -> int:
    from agentlab.trace.frames import events_df

    return len(events_df(db, RUN, payload="text"))


def _ours_narrow(db: Path) -> int:
    from agentlab.trace.frames import events_df

    return len(events_df(db, RUN))


def _adbc(db: Path, columns: tuple[str, ...] = (*NARROW, "payload")) -> int:
    import adbc_driver_sqlite.dbapi as driver

    with closing(driver.connect(db.as_uri() + "?mode=ro")) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM events")
        return int(cursor.fetch_arrow_table().num_rows)


def _adbc_narrow(db: Path) -> int:
    return _adbc(db, NARROW)


def _read_sql(db: Path) -> int:
    import pandas as pd

    with closing(sqlite3.connect(db.as_uri() + "?mode=ro", uri=True)) as connection:
        return len(pd.read_sql_query(f"SELECT {', '.join((*NARROW, 'payload'))} FROM events", connection))


READERS: dict[str, Callable[[Path], int]] = {
    "ours": _ours,
    "adbc": _adbc,
    "read_sql": _read_sql,
    "ours_narrow": _ours_narrow,
    "adbc_narrow": _adbc_narrow,
}


def _child(reader: str, db: Path, small: Path) -> None:
    READERS[reader](small)  # imports, and whatever is made once
    base = _peak()
    begun = time.perf_counter()
    READERS[reader](db)
    seconds = time.perf_counter() - begun
    print(json.dumps([seconds, max(_peak() - base, 0.001)]))


def _peak() -> float:
    """MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


# --- the database ------------------------------------------------------------------------------------------


def database(events: int) -> Path:
    """The synthetic log, made where it is not there yet."""
    folder = Path(tempfile.gettempdir()) / "agentlab-benchmarks"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"frames-{events}.db"
    if not path.exists():
        making = path.with_suffix(".making")
        making.unlink(missing_ok=True)
        _make(making, events)
        making.rename(path)
    return path


def _make(path: Path, events: int) -> None:
    from agentlab.store.schema import EVENT_COLUMNS, migrate

    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        migrate(db)
        db.execute("PRAGMA synchronous=OFF")
        db.execute("BEGIN")
        places = ", ".join("?" * len(EVENT_COLUMNS))
        db.executemany(f"INSERT INTO events VALUES ({places})", _events(events))
        db.execute(
            "INSERT INTO runs(run_id, name, status, started, n_events, schema_version) VALUES (?, ?, 'done', ?, ?, 1)",
            (RUN, RUN, T0, events),
        )
        db.execute("COMMIT")


def _events(count: int) -> Iterator[tuple[object, ...]]:
    """Columns as a real log has them: names repeat, and some columns stay NULL for thousands of rows.

    But for the first event, which has them all: bare ADBC types a column by its first rows, and would fail.
    """
    chance = random.Random(1)
    types = (
        "tool.call",
        "tool.result",
        "lock.request",
        "lock.grant",
        "lock.release",
        "file.write",
        "message",
        "model.call",
    )
    for seq in range(1, count + 1):
        type, agent = types[seq % len(types)], seq % 8
        model, tool, late = type == "model.call" or seq == 1, type.startswith("tool"), seq > 3000 or seq == 1
        yield (
            seq, RUN, seq, T0 + seq * 1_000_000, type, f"agent-{agent}", "session-1", f"task-{agent}",
            f"span-{seq // 4}", f"span-{seq // 32}" if late else None, seq - 1 if tool and late else None,
            "claude" if model else "write" if tool else None,
            f"file:src/module_{seq % 300}.py" if type.startswith(("lock", "file")) or seq == 1 else None,
            "ok" if type == "tool.result" or seq == 1 else None, seq % 1_000_000 if tool and late else None,
            100 if model and late else None, 10 if model and late else None, 5 if model and late else None,
            0.001 if model and late else None, f"{chance.getrandbits(64):016x}",
            json.dumps({"type": type, "call": f"call-{seq}", "text": f"{chance.getrandbits(64):x}" * 18 + "ü"}, ensure_ascii=False),
        )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--db", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        _child(args.reader, args.db, database(10))
        return 0
    measures = run(events=args.events)
    show("frames", measures)
    return 1 if any(measure.ok is False for measure in measures) else 0


if __name__ == "__main__":
    sys.exit(main())
