"""The gate over a real link, against the real rules, while connections break and the plane comes and goes."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import pytest
from fake_plane import FakePlane, until

from agentlab import processes
from agentlab.core import commands as c
from agentlab.core.commands import Granted, Queued
from agentlab.core.events import LockGrant, LockRelease, Message, Mode, ToolCall, ToolResult
from agentlab.core.redaction import Redactor
from agentlab.errors import AlreadyHeld, BadRequest, NotHeld, PlaneUnavailable, Refused, WouldBlock
from agentlab.link import messages as m
from agentlab.link.journal import path_of, read
from agentlab.runner import claims, revive
from agentlab.runner.connection import LARGEST_BLOB, PlaneGate
from agentlab.runner.gate import Permission, Verdict
from agentlab.runner.leases import LocalLeases

A, B = ("file:a.txt",), ("file:b.txt",)


Hire = Callable[..., "asyncio.Future[PlaneGate]"]


@pytest.fixture
async def hire(plane: FakePlane) -> AsyncIterator[Hire]:
    """Make an agent and its gate, hired."""
    gates: list[PlaneGate] = []

    async def hire(name: str, **spec: object) -> PlaneGate:
        gate = PlaneGate(plane.hire(name, **spec))  # type: ignore[arg-type]
        gates.append(gate)
        await gate.start()
        return gate

    yield hire  # type: ignore[misc]
    for gate in gates:
        await gate.close()


def said(text: str) -> Message:
    return Message(role="assistant", text=text)


# --- claims ----------------------------------------------------------------------------------------------------


async def test_what_was_queued_at_its_spawning_and_granted_since_it_was_hired_is_held(
    plane: FakePlane, hire: Hire
) -> None:
    first = await hire("a")
    granted = await first.claim(A)
    launch = plane.hire("b", claims=A)
    plane.do(c.Dispatch(agent=launch.agent, runtime_id="local"))
    second = PlaneGate(launch)
    await second.start()
    try:
        assert second.held(A[0]) is None
        await first.release(granted.ticket)
        got = await second.claim(A, rid=c.rid_of_claims(launch.agent))
        assert second.held(A[0]) == got and plane.log("lock.deny") == []
        with pytest.raises(AlreadyHeld):
            await second.claim(A)
    finally:
        await second.close()


async def test_a_free_unit_is_granted_and_held_until_it_is_released(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(("dir:src",))
    assert gate.held("file:src/x.py") == gate.held("dir:src") == granted
    assert gate.held("file:src2") is None
    assert gate.grants() == (granted,)
    await gate.release(granted.ticket)
    assert gate.held("dir:src") is None
    assert plane.state.locks.held_by(gate.owner) == []


async def test_a_shared_grant_does_not_allow_writing(hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A, Mode.SHARED)
    assert gate.held("file:a.txt", Mode.SHARED) == granted
    assert gate.held("file:a.txt") is None


async def test_a_part_of_a_ticket_can_be_released(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A + B)
    await gate.release(granted.ticket, A)
    assert gate.held("file:a.txt") is None
    assert gate.held("file:b.txt") is not None
    await gate.release()
    assert gate.grants() == ()
    assert plane.state.locks.held_by(gate.owner) == []


async def test_a_waiting_claim_hears_its_places_and_is_granted_when_the_holder_releases(
    plane: FakePlane, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "POLL", 0.02)
    first, second, third = await hire("a"), await hire("b"), await hire("c")
    held = await first.claim(A)
    ahead = asyncio.create_task(second.claim(A))
    await until(lambda: plane.state.locks.waiting_of(second.owner))
    places: list[Queued] = []
    waiting = asyncio.create_task(third.claim(A, queued=places.append))
    await until(lambda: places)
    assert (places[0].position, [b.owner for b in places[0].behind]) == (2, ["r1/a", "r1/b"])
    await first.release(held.ticket)
    await ahead
    await until(lambda: places[-1].position == 1)
    await second.release()
    granted = await waiting
    assert third.held("file:a.txt") == granted
    assert len(places) == len(set(places)), "the same place is told once"


async def test_a_claim_that_may_not_wait_is_refused_at_once(hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    await first.claim(A)
    with pytest.raises(WouldBlock, match="held by"):
        await second.claim(A, wait=False)
    await second.claim(B)
    with pytest.raises(WouldBlock, match="yields=True"):
        await second.claim(A)
    with pytest.raises(AlreadyHeld):
        await second.claim(B)


async def test_a_wait_that_times_out_keeps_its_place_and_is_gone_on_with(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    held = await first.claim(A)
    with pytest.raises(NotHeld, match=r"held by a; you are 1st.*The ticket stays") as waited:
        await second.claim(A, timeout=0.05)
    ticket = waited.value.data["ticket"]
    assert plane.state.locks.waiting_of(second.owner).ticket == ticket  # type: ignore[union-attr]
    again = asyncio.create_task(second.claim(A, timeout=20))
    await until(lambda: any(r.ticket == ticket and r.timeout > 1 for r in plane.took(m.WaitTicket)))  # type: ignore[union-attr]
    await first.release(held.ticket)
    assert (await again).ticket == ticket
    assert len(plane.took(c.Claim)) == 2, "going on is no new claim"


async def test_a_ticket_granted_while_nobody_asked_is_there_when_it_is_asked_for_again(
    plane: FakePlane, hire: Hire
) -> None:
    first, second = await hire("a"), await hire("b")
    held = await first.claim(A)
    with pytest.raises(NotHeld):
        await second.claim(A, timeout=0)
    await first.release(held.ticket)
    assert second.held("file:a.txt") is None
    granted = await second.claim(A, timeout=0)
    assert second.held("file:a.txt") == granted


async def test_claiming_something_else_gives_a_kept_place_back(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    await first.claim(A)
    with pytest.raises(NotHeld):
        await second.claim(A, timeout=0)
    await second.claim(B)
    assert plane.state.locks.waiting_of(second.owner) is None


async def test_a_kept_place_that_nobody_asks_for_is_given_back(
    plane: FakePlane, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "KEPT", 0.02)
    first, second = await hire("a"), await hire("b")
    await first.claim(A)
    with pytest.raises(NotHeld):
        await second.claim(A, timeout=0)
    await until(lambda: plane.state.locks.waiting_of(second.owner) is None)


async def test_cancelling_a_wait_gives_the_ticket_back(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    await first.claim(A)
    waiting = asyncio.create_task(second.claim(A))
    await until(lambda: plane.took(m.WaitTicket))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: plane.state.locks.waiting_of(second.owner) is None)
    released = [e.body for e in plane.events if isinstance(e.body, LockRelease)]
    assert released[-1].reason == "cancelled"


async def test_a_claim_cancelled_before_its_answer_is_taken_back_by_the_answer(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    plane.silent = {c.Claim}
    claiming = asyncio.create_task(gate.claim(A))
    await until(lambda: plane.state.locks.held_by(gate.owner))
    claiming.cancel()
    with pytest.raises(asyncio.CancelledError):
        await claiming
    plane.silent.clear()
    plane.swallow = m.Renew  # breaks the connection: the claim is asked again, and answered
    await until(lambda: not plane.state.locks.held_by(gate.owner))
    assert gate.grants() == ()


async def test_yielding_gives_everything_back_before_it_waits(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    await first.claim(A)
    await second.claim(B)
    both = asyncio.create_task(second.claim(A, yields=True))
    await until(lambda: plane.state.locks.waiting_of(second.owner))
    assert second.held("file:b.txt") is None
    await first.release()
    granted = await both
    assert set(granted.units) == {"file:a.txt", "file:b.txt"}
    assert second.held("file:b.txt") == second.held("file:a.txt") == granted
    assert len(second.grants()) == 1


async def test_yielding_for_something_free_keeps_what_is_held(hire: Hire) -> None:
    gate = await hire("a")
    old = await gate.claim(A)
    new = await gate.claim(B, yields=True)
    assert gate.held("file:a.txt") == old
    assert gate.held("file:b.txt") == new


async def test_claims_of_one_agent_come_one_after_the_other(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    held = await first.claim(A)
    waiting = asyncio.create_task(second.claim(A))
    await until(lambda: plane.took(m.WaitTicket))
    with pytest.raises(NotHeld, match="Another claim of yours"):
        await second.claim(B, timeout=0.05)
    with pytest.raises(WouldBlock, match="Another claim of yours"):
        await second.claim(B, wait=False)
    await first.release(held.ticket)
    await waiting
    await second.claim(B)


# --- leases ----------------------------------------------------------------------------------------------------


async def test_heartbeats_keep_a_short_lease_and_do_not_starve_while_claims_come_and_go(
    plane: FakePlane, hire: Hire
) -> None:
    gate = await hire("a", ttl=0.3)
    granted = await gate.claim(A)

    async def busy() -> None:
        while True:
            other = await gate.claim(B)
            await gate.release(other.ticket)

    working = asyncio.create_task(busy())
    await until(lambda: len(plane.took(m.Renew)) >= 8)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert gate.held("file:a.txt") == granted


async def test_a_lease_that_was_taken_away_is_noticed_by_the_next_heartbeat(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    await gate.claim(A)
    plane.expire()
    await until(lambda: gate.held("file:a.txt") is None)


async def test_a_revoked_grant_is_dropped_at_once(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A)
    await until(lambda: gate.owner in plane.peers)
    plane.silent.add(m.Renew)
    plane.say(gate.owner, "revoked", ticket=granted.ticket, reason="pause")
    await until(lambda: gate.held("file:a.txt") is None)


async def test_leases_run_out_while_the_plane_is_away_and_come_back_with_it(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a", ttl=0.2)
    granted = await gate.claim(A)
    await plane.go_down()
    await until(lambda: gate.held("file:a.txt") is None)
    await plane.come_up()
    await until(lambda: gate.held("file:a.txt") == granted)


def lease(ticket: int, *units: str, ttl: float = 10.0, mode: Mode = Mode.EXCLUSIVE) -> Granted:
    return Granted(ticket=ticket, token=ticket, units=units, mode=mode, ttl=ttl)


def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    now = 100.0
    leases = LocalLeases(lambda: now)
    leases.add(lease(1, "file:a"), since=95.0)
    now = 104.9
    assert leases.held("file:a")
    now = 105.0
    assert leases.held("file:a") is None
    assert leases.in_doubt()
    assert leases.renewed([lease(1, "file:a")], frozenset({1}), sent=104.0) == []
    assert leases.held("file:a")


def test_a_grant_that_came_after_a_renewal_was_sent_is_not_lost_by_its_answer() -> None:
    leases = LocalLeases(lambda: 0.0)
    leases.add(lease(1, "file:a"), since=0.0)
    known = leases.tickets()
    leases.add(lease(2, "file:b"), since=0.0)
    assert leases.renewed([], known, sent=0.0) == [lease(1, "file:a")]
    assert leases.tickets() == {2}


def test_a_grant_released_while_a_renewal_was_under_way_does_not_come_back() -> None:
    leases = LocalLeases(lambda: 0.0)
    leases.add(lease(1, "file:a"), since=0.0)
    known = leases.tickets()
    leases.drop(1)
    leases.renewed([lease(1, "file:a")], known, sent=0.0)
    assert leases.held("file:a") is None


# --- the record ------------------------------------------------------------------------------------------------


async def test_records_stand_in_the_log_before_the_claims_and_releases_that_follow_them(
    plane: FakePlane, hire: Hire
) -> None:
    gate = await hire("a")
    for n in range(3):
        gate.record(said(f"before {n}"))
        granted = await gate.claim(A)
        gate.record(said(f"inside {n}"))
        await gate.release(granted.ticket)
    expected = [
        line
        for n in range(3)
        for line in (f"message before {n}", "lock.grant file:a.txt", f"message inside {n}", "lock.release file:a.txt")
    ]
    assert plane.log("message", "lock.grant", "lock.release") == expected


async def test_flush_returns_when_all_is_in_the_log_with_its_columns(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    gate.record(ToolCall(call="c1", args={"path": "a.txt"}), name="read", actor="helper", span="s", dur_ns=5)
    await gate.flush()
    event = plane.events[-1]
    assert (event.type, event.name, event.actor, event.span, event.dur_ns) == ("tool.call", "read", "a/helper", "s", 5)
    with pytest.raises(TypeError, match="colour"):
        gate.record(said("x"), colour="blue")


async def test_records_are_sent_in_batches_and_by_themselves(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    for n in range(500):
        gate.record(said(str(n)))
    await until(lambda: plane.log("message")[-1:] == ["message 499"])
    assert plane.log("message") == [f"message {n}" for n in range(500)]
    assert len(plane.took(c.Report)) <= 3


async def test_content_is_stored_before_what_names_it_and_only_once(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    hash = await gate.keep(b"content")
    assert hash == sha256(b"content").hexdigest()
    assert await gate.keep(b"content") == hash
    gate.record(said(hash))
    await gate.flush()
    puts = [request for request in plane.requests if isinstance(request, m.PutBlobs | c.Report)]
    assert [type(put) for put in puts] == [m.PutBlobs, c.Report]
    assert await gate.keep(b"content") == hash
    await gate.flush()
    assert len(plane.took(m.PutBlobs)) == 1
    assert await gate.fetch(hash) == b"content"
    assert await gate.fetch("0" * 64) is None


async def test_the_largest_content_is_stored_and_what_is_larger_is_refused(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    hash = await gate.keep(bytes(64 * 1024 * 1024))
    await gate.flush()
    assert len(plane.blobs[hash]) == 64 * 1024 * 1024
    with pytest.raises(BadRequest, match="too large"):
        await gate.keep(bytes(LARGEST_BLOB + 1))


async def test_a_record_that_the_plane_refuses_ends_the_runner_and_is_said(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    gate.record(LockGrant(ticket=1, owner="r1/a", units=A, mode=Mode.EXCLUSIVE, token=99))
    with pytest.raises(Refused, match="may not report"):
        await gate.flush()
    assert isinstance(gate.refused.result(), Refused)


# --- a plane that goes and comes ---------------------------------------------------------------------------------


async def test_an_answer_that_was_lost_is_asked_for_again_and_nothing_happens_twice(
    plane: FakePlane, hire: Hire
) -> None:
    gate = await hire("a")
    plane.swallow = c.Claim
    granted = await gate.claim(A)
    assert gate.held("file:a.txt") == granted
    first, second = plane.took(c.Claim)
    assert first == second, "the same request, with the same id"
    assert plane.log("lock.grant") == ["lock.grant file:a.txt"]
    plane.swallow = c.Report
    gate.record(said("once"))
    await gate.flush()
    assert plane.log("message") == ["message once"]


@pytest.mark.parametrize("kind", [c.Claim, c.Release, c.Report, m.PutBlobs, c.Touched])
async def test_what_nobody_knows_the_outcome_of_is_asked_again(plane: FakePlane, hire: Hire, kind: type) -> None:
    gate = await hire("a")
    plane.unknown = kind
    granted = await gate.claim(A)
    gate.record(said(await gate.keep(b"x")))
    await gate.release(granted.ticket)
    await gate.touched(A, 0)
    await gate.flush()
    assert plane.unknown is None
    assert plane.log("lock.grant", "message", "lock.release") == [
        "lock.grant file:a.txt", f"message {sha256(b'x').hexdigest()}", "lock.release file:a.txt"
    ]  # fmt: skip


async def test_an_agent_goes_on_while_the_plane_is_away_and_nothing_is_lost(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    gate.record(said("before"))
    granted = await gate.claim(A)
    await plane.go_down()
    for n in range(100):
        gate.record(said(f"alone {n}"))
    hash = await gate.keep(b"made alone")
    releasing = asyncio.create_task(gate.release(granted.ticket))
    claiming = asyncio.create_task(gate.claim(B))
    await asyncio.wait({releasing, claiming}, timeout=0.1)
    assert not releasing.done()
    assert not claiming.done()
    await plane.come_up()
    await asyncio.gather(releasing, claiming)
    await gate.flush()
    assert plane.blobs[hash] == b"made alone"
    assert plane.log("message", "lock.grant", "lock.release") == [
        "message before", "lock.grant file:a.txt", *(f"message alone {n}" for n in range(100)),
        "lock.release file:a.txt", "lock.grant file:b.txt",
    ]  # fmt: skip


async def test_a_wait_goes_on_in_its_place_after_the_plane_was_away(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    held = await first.claim(A)
    waiting = asyncio.create_task(second.claim(A))
    await until(lambda: plane.took(m.WaitTicket))
    ticket = plane.state.locks.waiting_of(second.owner).ticket  # type: ignore[union-attr]
    await plane.go_down()
    await plane.come_up()
    await first.release(held.ticket)
    assert (await waiting).ticket == ticket


async def test_a_claim_with_a_time_limit_does_not_wait_for_a_plane_for_ever(
    plane: FakePlane, hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "PATIENCE", 0.02)
    gate = await hire("a")
    await plane.go_down()
    with pytest.raises(PlaneUnavailable, match="does not answer"):
        await gate.claim(A, timeout=0.02)
    await plane.come_up()
    await until(lambda: plane.log("lock.grant"))
    await until(lambda: not plane.state.locks.held_by(gate.owner))


async def test_what_a_killed_runner_had_not_sent_is_in_its_journal(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    gate.record(said("sent"))
    await gate.flush()
    await plane.go_down()
    hash = await gate.keep(b"kept")
    gate.record(said("not sent"))
    known = plane.state.journals[gate.owner]
    blobs, entries = read(path_of(plane.home, gate.owner), known)
    assert [blob.hash for blob in blobs] == [hash]
    assert [entry.body for entry in entries] == [said("not sent")]
    await plane.come_up()


async def test_a_second_runner_of_an_agent_goes_on_with_the_journal_of_the_first(plane: FakePlane) -> None:
    launch = plane.hire("a")
    first = PlaneGate(launch)
    await first.start()
    first.record(said("one"))
    await first.flush()
    await plane.go_down()
    first.record(said("two"))
    await first.close()
    await plane.come_up()
    second = PlaneGate(launch)
    await second.start()
    second.record(said("three"))
    await second.flush()
    assert plane.log("message") == ["message one", "message two", "message three"]
    await second.close(done=True)
    assert not path_of(plane.home, launch.agent).exists()


async def test_a_runner_whose_agent_was_ended_meanwhile_is_told_so_for_good(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    waiting = asyncio.create_task(gate.ask("Still there?"))
    await until(lambda: plane.took(c.Ask))
    await plane.go_down()
    plane.do(c.Finish(agent=gate.owner, status="failed", reason="lost"))
    gate.record(said("too late"))
    await plane.come_up()
    for pending in (waiting, gate.flush(), gate.claim(A)):
        with pytest.raises(Refused, match="worth nothing"):
            await pending
    assert read(path_of(plane.home, gate.owner))[1], "the journal stays for the plane"


async def test_nobody_at_the_address_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentlab.runner import uplink

    monkeypatch.setattr(uplink, "FIRST", 0.1)
    plane = FakePlane(tmp_path / "home", tmp_path)
    gate = PlaneGate(plane.hire("a"))
    with pytest.raises(PlaneUnavailable, match="No plane answered"):
        await gate.start()
    await gate.close()


# --- finding the plane again -----------------------------------------------------------------------------------


async def test_a_plane_that_moved_is_found_by_the_state_file_of_the_home(
    plane: FakePlane, hire: Hire, tmp_path: Path
) -> None:
    from agentlab import discovery

    gate = await hire("a")
    await plane.go_down()
    home, plane.home = plane.home, tmp_path / "elsewhere"
    await plane.come_up()
    discovery.write(home, discovery.Plane.here(address=f"unix:{plane.home / 'plane.sock'}", token="admin's"))
    gate.record(said("found"))
    await gate.flush()
    assert plane.log("message") == ["message found"]


STARTED = """
import os, socket, sys, time
from pathlib import Path
from agentlab import discovery
home = Path(sys.argv[1])
listener = socket.socket(socket.AF_UNIX)
listener.bind(str(home / "plane.sock"))
listener.listen()
discovery.write(home, discovery.Plane.here(address=f"unix:{home / 'plane.sock'}", token="t"))
time.sleep(60)
"""

RUNNER = """
import os, sys
from pathlib import Path
from agentlab import discovery, processes
from agentlab.runner.revive import ensure_apart
processes.become_subreaper()
home = Path(sys.argv[1])
ensure_apart(home, [sys.executable, "-c", sys.argv[2], str(home)])
plane = discovery.read(home)
print(plane.pid, plane.pid in processes.tree(os.getpid()))
"""


def test_a_plane_started_by_a_runner_is_no_part_of_the_runners_tree(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(home), STARTED], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    pid, inside = done.stdout.split()
    try:
        assert inside == "False"
        assert processes.alive(processes.identity(int(pid)))
    finally:
        processes.kill_tree([int(pid)], grace=0.0)


async def test_a_plane_is_only_started_again_where_it_was_local_and_not_stopped_on_purpose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agentlab import discovery

    started: list[Path] = []
    monkeypatch.setattr(revive, "ensure_apart", started.append)
    finder = revive.Finder("ws://far.away:1/link", tmp_path)
    finder.reached("ws://far.away:1/link")
    await finder.revive()
    assert started == []
    here = f"unix:{tmp_path / 'plane.sock'}"
    discovery.write(tmp_path, discovery.Plane.here(address=here, token="t"))
    finder = revive.Finder(here, tmp_path)
    finder.reached(here)
    await finder.revive()
    assert started == [tmp_path]
    discovery.mark_stopped(tmp_path)
    await finder.revive()
    assert started == [tmp_path]


# --- questions -------------------------------------------------------------------------------------------------


async def test_a_question_waits_for_its_answer(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.ask("Blue or red?", ("blue", "red")))
    await until(lambda: plane.took(c.Ask))
    approval = plane.took(c.Ask)[0].approval  # type: ignore[union-attr]
    plane.say(gate.owner, "answer", "red", approval=approval, status="answered")
    assert await asking == "red"


async def test_a_question_that_is_denied_is_refused_with_the_reason(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.ask("May I?"))
    await until(lambda: plane.took(c.Ask))
    approval = plane.took(c.Ask)[0].approval  # type: ignore[union-attr]
    plane.say(gate.owner, "answer", "not on a Friday", approval=approval, status="denied")
    with pytest.raises(Refused, match="denied: not on a Friday"):
        await asking


async def test_a_question_is_asked_again_after_a_lost_connection(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.ask("Still?"))
    await until(lambda: plane.took(c.Ask))
    await plane.go_down()
    await plane.come_up()
    await until(lambda: len(plane.took(c.Ask)) == 2)
    first, second = plane.took(c.Ask)
    assert first == second
    plane.say(gate.owner, "answer", "yes", approval=first.approval, status="approved")  # type: ignore[union-attr]
    assert await asking == "yes"


async def test_a_permission_carries_its_diff_and_a_verdict_says_who_and_why(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    wanted = Permission(question="Edit x?", tool="Edit", units=A, input={"path": "x"}, diff="-a\n+b\n", timeout=60.0)
    asking = asyncio.create_task(gate.approve(wanted))
    await until(lambda: plane.took(c.Ask))
    (row,) = plane.state.approvals.values()
    assert (row.kind, row.tool, row.units, row.input) == ("permission", "Edit", A, {"path": "x"})
    assert plane.blobs[row.diff or ""] == b"-a\n+b\n"
    told = {"approval": row.approval, "status": "denied", "by": "ada", "scope": "session"}
    plane.say(gate.owner, "answer", "use patch", **told)
    assert await asking == Verdict(allowed=False, answer="denied", scope="session", by="ada", reason="use patch")


@pytest.mark.parametrize(
    ("status", "allowed"),
    [("approved", True), ("answered", True), ("denied", False), ("expired", False), ("cancelled", False), ("?", False)],
)
async def test_only_a_yes_is_a_yes(plane: FakePlane, hire: Hire, status: str, allowed: bool) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.approve(Permission(question="May I?")))
    await until(lambda: plane.took(c.Ask))
    plane.say(gate.owner, "answer", approval=next(iter(plane.state.approvals)), status=status)
    assert (await asking).allowed is allowed


async def test_a_cancelled_call_takes_its_question_back(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.approve(Permission(question="May I?")))
    await until(lambda: plane.state.asked)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: not plane.state.asked)
    assert [row.status for row in plane.state.approvals.values()] == ["cancelled"]


async def test_a_runner_that_is_not_wanted_any_more_is_allowed_nothing(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    asking = asyncio.create_task(gate.approve(Permission(question="May I?")))
    await until(lambda: plane.took(c.Ask))
    await plane.go_down()
    plane.do(c.Finish(agent=gate.owner, status="failed", reason="lost"))
    await plane.come_up()
    verdict = await asking
    assert not verdict.allowed
    assert "worth nothing" in verdict.reason


# --- operators -------------------------------------------------------------------------------------------------


async def test_who_took_a_grant_away_is_told_once_at_the_next_use(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A)
    plane.do(c.Revoke(ticket=granted.ticket, by="ada", reason="mine"))
    plane.say(gate.owner, "revoked", ticket=granted.ticket, reason="operator", units=A, by="ada", why="mine")
    await until(lambda: not gate.grants())
    assert gate.revoked(B) is None
    assert str(gate.revoked(A)) == f"{A[0]} was revoked by ada: mine"
    assert gate.revoked(A) is None


async def test_a_revocation_that_a_runner_missed_is_in_the_answer_to_its_ready(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A)
    await plane.go_down()
    plane.do(c.Revoke(ticket=granted.ticket, by="ada"))
    await plane.come_up()
    await until(lambda: not gate.grants())
    assert str(gate.revoked(A)) == f"{A[0]} was revoked by ada"


async def test_an_agent_that_claims_again_what_was_revoked_knows_it(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    granted = await gate.claim(A)
    plane.do(c.Revoke(ticket=granted.ticket, by="ada"))
    plane.say(gate.owner, "revoked", ticket=granted.ticket, reason="operator", units=A, by="ada", why="")
    await until(lambda: not gate.grants())
    await gate.claim(A)
    assert gate.revoked(A) is None


async def test_what_others_held_is_asked_from_a_position_on(plane: FakePlane, hire: Hire) -> None:
    first, second = await hire("a"), await hire("b")
    since = await first.position()
    assert since == plane.state.position
    granted = await second.claim(A)
    await second.release(granted.ticket)
    assert await first.touched(A + B, since) == A
    assert await first.touched(A + B, await first.position()) == ()


async def test_a_plan_is_logged(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a")
    await gate.plan(("look", "leap"), A)
    assert plane.events[-1].type == "plan"


# --- secrets ---------------------------------------------------------------------------------------------------

SECRET = 'p@ss/word "ü" 12345'


async def test_secrets_are_in_no_event_no_blob_and_no_journal(plane: FakePlane, hire: Hire) -> None:
    gate = await hire("a", secrets={"KEY": SECRET, "SHORT": "abc"})
    gate.record(
        ToolResult(call="c", output={"list": [f"key={SECRET}", {SECRET: "abc"}], "n": 1}, error=SECRET), name=SECRET
    )
    hash = await gate.keep(f"key: {SECRET}\n".encode())
    await gate.plan((f"use {SECRET}",))
    await gate.flush()
    journal = path_of(plane.home, gate.owner).read_bytes()
    for place in (repr(plane.events), repr(plane.blobs), repr(plane.requests), journal.decode(errors="replace")):
        assert "p@ss" not in place
    body = next(e.body for e in plane.events if isinstance(e.body, ToolResult))
    assert body.output == {"list": ["key=[redacted:KEY]", {"[redacted:KEY]": "abc"}], "n": 1}
    assert plane.blobs[hash] == b"key: [redacted:KEY]\n"
    assert hash == sha256(b"key: [redacted:KEY]\n").hexdigest()


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_a_secret_is_found_in_base64_wherever_it_stands(before: str, after: str) -> None:
    redactor = Redactor({"KEY": "sk-ant-0123456789"})
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(f"{before}sk-ant-0123456789{after}".encode()).decode()
        assert "[redacted:KEY]" in redactor.text(f"Authorization: Basic {text}")
        assert b"[redacted:KEY]" in redactor.data(text.encode())


@pytest.mark.parametrize(
    "text",
    ["p%40ss%2Fword%20%22%C3%BC%22%2012345", "p%40ss%2Fword+%22%C3%BC%22+12345", 'p@ss/word \\"\\u00fc\\" 12345'],
)
def test_a_secret_is_found_as_urls_and_json_write_it(text: str) -> None:
    assert Redactor({"KEY": SECRET}).text(f"<{text}>") == "<[redacted:KEY]>"


def test_without_secrets_nothing_is_changed() -> None:
    message = said("hello")
    assert Redactor({}).value(message) is message
    assert Redactor({}).data(b"hello") == b"hello"
