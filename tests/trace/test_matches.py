"""Searching the log. What a filter means, case by case, is in tests/labextension/test_filters.py."""

from __future__ import annotations

import sqlite3

import pytest
from trace_log import Recorder

from agentlab.core.events import Message
from agentlab.errors import StoreCorrupt
from agentlab.trace.frames import events_df


def test_a_large_value_is_searched_to_its_end_and_a_key_of_the_store_is_not(log: Recorder) -> None:
    log.event(Message(role="user", text="x" * 20_000 + " Needle"))
    log.event(Message(role="user", text="a $blob"))
    db = log.save()
    assert list(events_df(db, text="needle")["seq"]) == [1]
    assert list(events_df(db, text="$BLOB")["seq"]) == [2]


def test_more_events_than_are_read_at_once_are_searched(log: Recorder) -> None:
    for i in range(20_000):
        log.event(Message(role="user", text="odd" if i % 2 else "even"))
    assert list(events_df(log.save(), text="ODD", where="seq > ?", params=[19_995])["seq"]) == [19_996, 19_998, 20_000]


def test_a_search_of_two_runs_does_not_mix_them_up(log: Recorder) -> None:
    for run, text in (("r1", "here"), ("r2", "there"), ("r2", "gone")):
        log.event(Message(role="user", text=text), run=run)
    db = log.save()
    assert [tuple(row) for row in events_df(db, text="here")[["run_id", "seq"]].to_numpy()] == [("r1", 1), ("r2", 1)]
    assert list(events_df(db, "r2", text="here")["seq"]) == [1]
    assert events_df(db, text="nowhere").empty


def test_what_a_newer_agentlab_wrote_is_searched_as_it_stands(log: Recorder) -> None:
    log.event(Message(role="user", text="x"), unit="file:A.py")
    db = log.save()
    with sqlite3.connect(db) as connection:
        connection.execute(
            """UPDATE events SET type = 'later.kind', payload = '{"type":"later.kind","new":["Word"]}'"""
        )
    connection.close()
    assert [len(events_df(db, **asked)) for asked in ({"text": "word"}, {"text": "LATER"}, {"unit": "a.p"})] == [
        1,
        1,
        1,
    ]  # type: ignore[arg-type]


def test_a_payload_that_cannot_be_searched_is_an_error_or_is_listed(log: Recorder) -> None:
    for text in ("one", "two"):
        log.event(Message(role="user", text=text))
    db = log.save()
    with sqlite3.connect(db) as connection:
        connection.execute("UPDATE events SET payload = '{\"role\": ' WHERE seq = 1")
    connection.close()
    with pytest.raises(StoreCorrupt, match="strict=False"):
        events_df(db, text="two")
    found = events_df(db, text="two", strict=False)
    assert list(found["seq"]) == [2] and found.attrs["errors"][0]["event"] == "r1:1"
