"""The journal: what a runner writes down before it tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentlab.core.commands import Entry
from agentlab.core.events import Blob, Message
from agentlab.errors import BadRequest, Unavailable
from agentlab.link import journal as journals
from agentlab.link.journal import BlobRecord, EntryRecord, Journal, path_of, read


def said(n: int, text: str = "") -> Entry:
    return Entry(n=n, ts=n, body=Message(role="assistant", text=text or f"line {n}"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_of(tmp_path / "home", "run/agent#2")


def test_what_was_written_is_read_again_blobs_and_entries_in_order(path: Path) -> None:
    journal = Journal(path)
    journal.append(said(1))
    journal.keep(Blob(hash="ab", data=b"\0\1"))
    journal.append(said(2))
    journal.close()
    assert read(path) == ([Blob(hash="ab", data=b"\0\1")], [said(1), said(2)])


def test_entries_that_are_known_are_left_out(path: Path) -> None:
    journal = Journal(path)
    for n in range(1, 6):
        journal.append(said(n))
    assert [entry.n for entry in read(path, after_n=3)[1]] == [4, 5]
    journal.close()


def test_no_journal_is_an_empty_one(path: Path) -> None:
    assert read(path) == ([], [])


def test_only_its_owner_may_read_it(path: Path) -> None:
    Journal(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("agent", ["run", "run/", "/agent", "../agent", "run/..", "a/b/c", "run/a\0b"])
def test_a_name_that_is_no_agent_has_no_journal(tmp_path: Path, agent: str) -> None:
    with pytest.raises(BadRequest, match="no agent"):
        path_of(tmp_path, agent)


def test_a_tail_torn_anywhere_loses_no_whole_record_and_is_written_over(path: Path) -> None:
    journal = Journal(path)
    journal.append(said(1))
    whole = journal.end
    journal.append(said(2, "a longer line that is going to be torn"))
    journal.close()
    full = path.read_bytes()
    for cut in range(whole, len(full)):
        path.write_bytes(full[:cut])
        assert read(path) == ([], [said(1)])
        journal = Journal(path)
        assert journal.last == 1
        journal.append(said(2, "again"))
        journal.close()
        assert read(path) == ([], [said(1), said(2, "again")])


def test_a_damaged_record_ends_what_is_believed(path: Path) -> None:
    journal = Journal(path)
    journal.append(said(1))
    place = journal.end
    journal.append(said(2))
    journal.close()
    data = bytearray(path.read_bytes())
    data[place + 12] ^= 0xFF
    path.write_bytes(data)
    assert read(path) == ([], [said(1)])


def test_slices_are_whole_records_of_about_a_size_however_large_one_is(path: Path) -> None:
    journal = Journal(path)
    journal.append(said(1))
    journal.keep(Blob(hash="big", data=bytes(10_000)))
    for n in range(2, 30):
        journal.append(said(n))
    place, seen = journal.start, []
    while place < journal.end:
        records, place = journal.slice(place, 200)
        assert records
        seen += [record.n if isinstance(record, EntryRecord) else "blob" for record in records]
    assert seen == [1, "blob", *range(2, 30)]
    journal.close()


def test_an_acknowledged_journal_gives_its_space_back_and_its_places_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "TRIM", 1000)
    journal = Journal(path)
    journal.keep(Blob(hash="big", data=bytes(5000)))
    journal.append(said(1))
    journal.acknowledged(journal.end - 1)
    assert path.stat().st_size > 5000, "not all of it was acknowledged"
    end = journal.end
    journal.acknowledged(end)
    assert path.stat().st_size < 100
    assert journal.start == journal.end == end
    journal.append(said(2))
    records, place = journal.slice(end, 1000)
    assert [record.n for record in records if not isinstance(record, BlobRecord)] == [2]
    assert place == journal.end
    assert read(path) == ([], [said(2)])
    journal.close()


def test_a_disk_that_is_full_is_said_and_leaves_the_journal_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    journal.append(said(1))

    def full(fd: int, data: bytes, place: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Unavailable, match="No space left on device"):
            journal.append(said(2))
    assert journal.last == 1
    journal.append(said(2))
    assert [entry.n for entry in read(path)[1]] == [1, 2]
    journal.close()


def test_a_journal_that_has_told_everything_is_removed(path: Path) -> None:
    journal = Journal(path)
    journal.remove()
    assert not path.exists()
