"""What every store promises, by the docstrings of `agentlab.store.base`."""

from __future__ import annotations

import pytest
from logs import blob, end, everything, ids, message, messages, start

from agentlab.core.events import AgentSpec, AgentStart, Artifact, Event, Message, ToolCall, ToolResult
from agentlab.errors import BadRequest, OutcomeUnknown, Unavailable
from agentlab.store.base import Batch, Snapshot, Store


async def test_an_empty_log_has_no_last_event(store: Store) -> None:
    assert await store.last_id() == 0
    assert await everything(store) == []
    assert await store.open_runs() == []


async def test_events_come_back_equal_and_in_order(store: Store) -> None:
    written = [
        start(1, "r1"),
        Event(id=2, run_id="r1", seq=2, ts=5, actor="plane", name="a",
              body=AgentStart(spec=AgentSpec(kind="script", task=[{"read": "a.txt"}]), rid="q")),
        Event(id=3, run_id="r1", seq=3, ts=4, actor="a", session_id="s", task_id="t", span="sp", parent="pa", cause=2,
              name="read", unit="file:a.txt", status="ok", dur_ns=7, tok_in=1, tok_out=2, tok_cache=3, cost=0.5,
              body=ToolCall(call="c1", args={"path": "ü\0\U0001f600", "n": [1, 2.5, None, True]})),
        Event(id=4, run_id="r1", seq=4, actor="a", name="diff", body=Artifact(kind="diff", hash="h")),
    ]  # fmt: skip
    await store.append(Batch(events=written[:2]))
    await store.append(Batch(events=written[2:]))
    assert await everything(store) == written
    assert await store.last_id() == 4


async def test_more_events_than_one_page_come_in_batches_without_gap(store: Store) -> None:
    await store.append(messages(1, 1234))
    batches = [[e.id for e in batch] async for batch in store.events()]
    assert len(batches) > 1
    assert [id for batch in batches for id in batch] == list(range(1, 1235))


async def test_events_are_chosen_by_id_by_run_and_by_limit(store: Store) -> None:
    await store.append(Batch(events=[message(i, run="even" if i % 2 == 0 else "odd") for i in range(1, 21)]))
    assert await ids(store, since=5, until=8) == [6, 7, 8]
    assert await ids(store, runs=["even"], since=15) == [16, 18, 20]
    assert await ids(store, runs=["even", "odd"], limit=3) == [1, 2, 3]
    assert await ids(store, runs=["odd"], limit=2) == [1, 3]
    assert await ids(store, runs=[]) == await ids(store, runs=["none"]) == await ids(store, limit=0) == []


async def test_a_runs_events_are_chosen_by_seq(store: Store) -> None:
    await store.append(Batch(events=[message(i, run=f"r{i % 2}", seq=(i + 1) // 2) for i in range(1, 2001)]))
    got = [e.seq async for batch in store.run_events("r1", since=3, until=900) for e in batch]
    assert got == list(range(4, 901))
    assert [batch async for batch in store.run_events("none")] == []


async def test_runs_are_open_from_their_start_to_their_end_oldest_first(store: Store) -> None:
    await store.append(Batch(events=[start(1, "z"), start(2, "m"), start(3, "a"), end(4, "m", 2)]))
    assert await store.open_runs() == ["z", "a"]
    await store.append(Batch(events=[start(5, "short"), end(6, "short", 2), end(7, "z", 2)]))
    assert await store.open_runs() == ["a"]


async def test_the_last_event_of_all_ended_runs_is_known(store: Store) -> None:
    await store.append(Batch(events=[start(1, "a"), start(2, "b"), start(3, "c"), message(4, run="b", seq=2)]))
    assert await store.last_ended_id() == 0
    await store.append(Batch(events=[end(5, "b", 3), end(6, "a", 2), message(7, run="c", seq=2)]))
    assert await store.last_ended_id() == 6


async def test_blobs_are_kept_once_and_come_back_whole(store: Store) -> None:
    contents = [b"", b"x", b"text " * 5000, bytes(range(256)) * 1000, b"\0" * 100_000]
    await store.append(Batch(blobs=[blob(c) for c in contents] * 2))
    await store.append(Batch(blobs=[blob(contents[2]), blob(b"new")]))
    for content in [*contents, b"new"]:
        assert await store.blob(blob(content).hash) == content
    assert await store.blob("0" * 64) is None
    assert await store.has_blobs([blob(b"x").hash, blob(b"y").hash]) == {blob(b"x").hash}
    assert await store.has_blobs([]) == set()


@pytest.mark.parametrize("text", ["x" * 8193, "é\0😀" * 100_000, "x" * 8192 + "y"])
async def test_large_values_go_to_the_blobs_and_come_back(store: Store, text: str) -> None:
    output = {"stdout": text, "deep": [{"text": text + "."}, "short"]}
    written = Event(id=1, run_id="r", seq=1, actor="a", body=ToolResult(call="c", output=output, error=text))
    await store.append(Batch(events=[written]))
    assert await everything(store) == [written]
    assert await store.blob(blob(text.encode()).hash) == text.encode()


@pytest.mark.parametrize("filler", ["", "x" * 9000], ids=["small", "large"])
async def test_an_agent_cannot_forge_a_reference_to_a_blob(store: Store, filler: str) -> None:
    secret = blob(b"not for you")
    forged = {"$blob": secret.hash, "n": 11, "head": "", "$$blob": {"$blob": 1}, "a$blob": "$blob", "filler": filler}
    written = Event(id=1, run_id="r", seq=1, actor="a", body=ToolCall(call="c", args=forged))
    await store.append(Batch(events=[written], blobs=[secret]))
    assert await everything(store) == [written]


async def test_a_journal_only_moves_forward(store: Store) -> None:
    await store.append(Batch(journals={"r1/a": 7, "r1/b": 1, "r2/a": 9, "r10/a": 3}))
    await store.append(Batch(journals={"r1/a": 5, "r1/b": 2}))
    assert await store.journals(["r1"]) == {"r1/a": 7, "r1/b": 2}
    assert await store.journals(["r2", "r10", "none"]) == {"r2/a": 9, "r10/a": 3}
    assert await store.journals([]) == {}


async def test_a_batch_of_everything_at_once_or_of_nothing(store: Store) -> None:
    await store.append(Batch())
    await store.append(
        Batch(
            events=[start(1, "r")],
            blobs=[blob(b"b")],
            snapshots=[Snapshot(run_id="r", seq=1, tree="t", manifest=blob(b"b").hash)],
            journals={"r/a": 1},
        )
    )
    assert (await ids(store), await store.journals(["r"])) == ([1], {"r/a": 1})


async def test_an_event_that_no_log_can_hold_is_refused_and_the_store_goes_on(store: Store) -> None:
    bad = Event(id=2, run_id="r1", seq=2, actor="a", body=Message(role="user", text="\ud800"))
    with pytest.raises(BadRequest, match=r"Event 2 .* cannot be written"):
        await store.append(Batch(events=[message(1), bad], blobs=[blob(b"b")], journals={"r1/a": 1}))
    assert (await store.last_id(), await store.has_blobs([blob(b"b").hash]), await store.journals(["r1"])) == (
        0,
        set(),
        {},
    )
    await store.append(messages(1, 2))
    assert await store.last_id() == 2


async def test_an_event_that_is_there_already_makes_the_outcome_unknown_and_changes_nothing(store: Store) -> None:
    await store.append(messages(1, 3))
    with pytest.raises(OutcomeUnknown):
        await store.append(Batch(events=[message(3, text="other")], blobs=[blob(b"b")], journals={"r1/a": 1}))
    assert await store.reopen() == 3
    assert (await everything(store))[-1] == message(3)
    assert (await store.has_blobs([blob(b"b").hash]), await store.journals(["r1"])) == (set(), {})


async def test_after_a_failure_only_reopen_makes_it_take_events_again(store: Store) -> None:
    await store.append(messages(1, 1))
    with pytest.raises(OutcomeUnknown):
        await store.append(messages(1, 1))
    with pytest.raises(OutcomeUnknown, match="reopened"):
        await store.append(messages(2, 2))
    assert await ids(store) == [1]  # reading goes on
    assert await store.reopen() == 1
    await store.append(messages(2, 2))
    assert await ids(store) == [1, 2]


async def test_checkpoints_and_a_second_opening_lose_nothing(store: Store) -> None:
    await store.append(messages(1, 100))
    await store.checkpoint()
    await store.append(messages(101, 200))
    await store.close()
    with pytest.raises(Unavailable, match="not open"):
        await store.append(messages(201, 201))
    with pytest.raises(Unavailable, match="not open"):
        await store.last_id()
    await store.open()
    assert await ids(store) == list(range(1, 201))
