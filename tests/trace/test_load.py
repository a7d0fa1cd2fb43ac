from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
from trace_log import Recorder

from agentlab.core.events import Message
from agentlab.errors import Unavailable
from agentlab.trace import load
from agentlab.trace.frames import events_df
from agentlab.trace.load import Log, Query

SEQ = pa.schema({"run_id": pa.string(), "seq": pa.int64()})
ALL = Query("SELECT run_id, seq FROM events", order="1, 2")


class Writer:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def says(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def write(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("more\n")
        self.process.stdin.flush()
        return self.says()


@contextmanager
def writer(db: Path) -> Iterator[Writer]:
    """Another process that has the log open for writing."""
    command = [sys.executable, str(Path(__file__).with_name("writing_child.py")), str(db)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = Writer(process)
            found.says()
            yield found
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


@pytest.fixture
def archive(log: Recorder, tmp_path: Path) -> Path:
    """A copy of a log with one event, that nobody has ever opened."""
    log.event(Message(role="user", text="x"))
    folder = tmp_path / "archive"
    folder.mkdir()
    return Path(shutil.copy(log.save(), folder / "log.db"))


def files(db: Path) -> set[str]:
    return {path.name for path in db.parent.iterdir()}


def test_what_a_living_writer_has_committed_is_seen_at_once(log: Recorder, driver: str) -> None:
    with writer(log.path) as living:
        for _ in range(3):
            last = living.write()
            there = files(log.path)
            assert list(events_df(log.path)["seq"]) == list(range(1, last + 1))
            assert files(log.path) == there


def test_a_writer_is_not_held_up_by_a_reader_in_the_middle_of_its_rows(log: Recorder, driver: str) -> None:
    for n in range(5):
        log.event(Message(role="user", text=str(n)))
    log.save()
    with writer(log.path) as living:
        living.write()
        reading = Log(log.path).batches(ALL, SEQ)
        first = next(reading)
        assert living.write() == 7
        assert first.num_rows + sum(batch.num_rows for batch in reading) in (6, 7)


def test_reading_a_log_that_nobody_writes_leaves_no_file_behind(archive: Path, driver: str) -> None:
    assert len(events_df(archive)) == 1
    assert files(archive) == {"log.db"}


def test_a_log_on_a_read_only_disk_can_be_read(archive: Path, driver: str) -> None:
    with read_only(archive.parent):
        assert len(events_df(archive)) == 1


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder in which nobody can write: by its mode, or by a mount where we are root, whom modes do not stop."""
    if os.geteuid():
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_log_whose_writer_was_killed_is_read_to_its_last_commit(log: Recorder, driver: str) -> None:
    with writer(log.path) as living:
        living.write()
        last = living.write()
        living.process.kill()
        living.process.wait(30)
        assert len(events_df(log.path)) == last


def test_a_writer_that_comes_while_a_quiet_log_is_read_is_noticed(archive: Path, driver: str) -> None:
    reading = Log(archive).batches(ALL, SEQ)
    next(reading)
    with writer(archive) as living:
        living.write()
        with pytest.raises(Unavailable, match="Read it again"):
            list(reading)


def test_a_read_that_was_disturbed_is_done_again(archive: Path, driver: str) -> None:
    tries: list[int] = []

    def consume(batches: Iterator[pa.RecordBatch]) -> int:
        tries.append(1)
        rows = next(batches).num_rows
        if len(tries) == 1:
            with writer(archive) as living:
                living.write()
        return rows + sum(batch.num_rows for batch in batches)

    assert Log(archive).read(ALL, SEQ, consume) == 2
    assert len(tries) == 2


def test_parameters_of_every_kind_reach_the_database(log: Recorder, driver: str) -> None:
    log.event(Message(role="user", text="x"), name="ñ'; --", cost=0.5)
    db = log.save()
    where = "name = ? AND cost = ? AND seq = ? AND unit IS ?"
    assert len(events_df(db, where=where, params=["ñ'; --", 0.5, 1, None])) == 1


def test_a_path_with_signs_that_mean_something_in_uris_is_read(tmp_path: Path, driver: str) -> None:
    folder = tmp_path / "a b?c#d%41é"
    folder.mkdir()
    log = Recorder(folder / "log ?.db")
    log.event(Message(role="user", text="x"))
    assert len(events_df(log.save())) == 1


def test_without_the_driver_the_standard_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite", None)
    monkeypatch.setitem(sys.modules, "adbc_driver_sqlite.dbapi", None)
    assert load._adbc() is None
