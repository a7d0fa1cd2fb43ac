"""Commands in the background: they print, they are looked at, they keep what they stand on, and they end with their agent."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from toolbox import until

from agentlab import errors, processes
from agentlab.core.events import FileWrite, Guard, ProcExit, ProcOutput, ProcStart, ToolResult
from agentlab.runner.drivers.answers import as_text
from agentlab.runner.tools import background, runs
from agentlab.runner.tools.transcript import LINES, PAGE, Transcript

WAITING = "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo over"
"""Until there is a file `go`."""


async def ended(host: Any, id: str) -> Any:
    """What it had to say in the end."""
    printed = await host.output(id, wait=60)
    while printed.running:
        printed = await host.output(id, wait=60)
    return printed


async def said(host: Any, id: str, word: str) -> str:
    """All that it has printed, once the word is in it."""
    async with asyncio.timeout(60):
        while word not in (text := (await host.output(id, since=0)).text):
            await asyncio.sleep(0.02)
    return str(text)


# --- its life ----------------------------------------------------------------------------------------------


async def test_it_goes_on_while_its_agent_does_something_else(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    begun = await a.start(command=WAITING)
    assert (begun.id, begun.running, begun.code) == ("p1", True, None)
    await said(a, "p1", "ready")
    await a.write("go", "x")
    over = await ended(a, "p1")
    assert (over.running, over.code, over.why) == (False, 0, "")
    assert await said(a, "p1", "over") == "ready\nover\n"
    (start,), (exit,) = gate.of(ProcStart), gate.of(ProcExit)
    assert (start.proc, exit.proc, exit.code) == ("p1", "p1", 0)
    assert "".join(output.data for output in gate.of(ProcOutput)) == "ready\nover\n"
    assert gate.grants() == ()


async def test_output_is_what_is_new_and_can_be_read_again_from_anywhere(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    begun = await a.start(command="printf 'one two three'; printf ' four' >&2")
    assert begun.running is False, "what ends at once is told at once"
    texts = [
        begun.text,
        (await a.output("p1")).text,
        (await a.output("p1", since=4)).text,
        (await a.output("p1", since=-4)).text,
    ]
    assert texts == ["one two three four", "", "two three four", "four"]


async def test_much_output_is_paged(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    code = "for n in range(20_000): print(n)"
    await a.start([sys.executable, "-c", code])
    await ended(a, "p1")
    read, at = "", 0
    while True:
        printed = await a.output("p1", since=at)
        assert len(printed.text) <= PAGE
        if printed.start == printed.end:
            break
        read, at = read + printed.text, printed.end
    assert read == "".join(f"{n}\n" for n in range(20_000))
    assert at == printed.size


async def test_it_is_stopped_with_all_that_it_started(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    await a.start(command="trap '' TERM; setsid sleep 1007 & echo ready; sleep 1007")
    await said(a, "p1", "ready")
    assert len(processes.marked(gate.owner)) >= 2
    over = await a.stop("p1")
    assert (over.running, over.why) == (False, "stopped")
    assert processes.marked(gate.owner) == []
    assert (await a.stop("p1")).why == "stopped", "once more does no harm"


async def test_it_is_ended_when_its_time_is_over(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    await a.start(command="sleep 1007", timeout=0.2)
    over = await ended(a, "p1")
    assert (over.signal, over.why) == (signal.SIGTERM, "timeout")


async def test_it_ends_with_its_agent(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    for _ in range(2):
        await a.start(command="setsid sleep 1007 & sleep 1007")
    await a.close()
    assert processes.marked(gate.owner) == []
    assert len(gate.of(ProcExit)) == 2, "and that is recorded"
    assert gate.grants() == ()


async def test_what_cannot_be_started_is_said_at_once(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    with pytest.raises(errors.NotFound, match="no program 'nothing-like-it'"):
        await a.start(["nothing-like-it"])
    with pytest.raises(errors.BadRequest, match=r"either command.*or argv"):
        await a.start(["true"], command="true")
    with pytest.raises(errors.NotFound, match="There are: none"):
        await a.output("p9")
    failed = await a.start(command="nothing-like-it --now")
    assert (failed.running, failed.code) == (False, 127)
    assert "not found" in failed.text
    assert gate.grants() == ()


async def test_a_start_that_is_given_up_leaves_nothing(tool_lab: Any) -> None:
    (a, gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await b.claim("proc:test")
    starting = asyncio.ensure_future(a.start(command="true", unit="proc:test"))
    await until(lambda: any(not ticket.token for ticket in tool_lab.plane.tickets.values()))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(tool_lab.plane.tickets) == 1
    assert gate.of(ProcStart) == []
    with pytest.raises(errors.NotFound):
        await a.output("p1")


async def test_one_that_still_waits_for_a_lock_ends_with_its_agent_too(tool_lab: Any) -> None:
    (a, gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await b.claim("proc:test")
    starting = asyncio.ensure_future(a.start(command="true", unit="proc:test"))
    await until(lambda: any(not ticket.token for ticket in tool_lab.plane.tickets.values()))
    await a.close()
    await asyncio.wait({starting}, timeout=30)
    assert starting.cancelled()
    assert (len(tool_lab.plane.tickets), gate.of(ProcStart)) == (1, [])


async def test_there_are_not_too_many_and_they_keep_nobody_from_running_others(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a", children=1)
    for _ in range(background.MOST):
        await a.start(command="sleep 1007")
    with pytest.raises(errors.Refused, match=r"4 commands .*p1 \(bash -c sleep 1007\), p2 .*Stop one first"):
        await a.start(command="sleep 1007")
    assert (await a.run("echo hi")).stdout == "hi\n"
    await a.stop("p1")
    assert (await a.start(command="sleep 1007")).running


async def test_a_paused_agents_commands_stand_still(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    await a.start(command="sleep 1007")
    await a.freeze()
    assert {found.state for pid in a.children() if (found := processes.info(pid))} == {"T"}
    await a.thaw()
    assert {found.state for pid in a.children() if (found := processes.info(pid))} <= {"S", "R"}
    await a.freeze()
    await a.stop("p1")
    assert a.children() == []


# --- what it holds -----------------------------------------------------------------------------------------


async def test_it_keeps_what_it_declared_until_it_has_ended(tool_lab: Any) -> None:
    (a, gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await a.start(command=f"{WAITING}; echo made > out/n.txt", writes=["out/"])
    waiting = asyncio.ensure_future(b.write("out/m.txt", "b\n"))
    await until(lambda: any(not ticket.token for ticket in tool_lab.plane.tickets.values()))
    (tool_lab.root / "out").mkdir()
    (tool_lab.root / "go").write_text("")
    await waiting
    over = await ended(a, "p1")
    assert over.wrote == ("out/n.txt",)
    assert [write.path for write in gate.of(FileWrite) if write.via == "scan"] == ["out/n.txt"]
    assert gate.grants() == ()


async def test_what_it_did_not_declare_is_undone_when_it_is_looked_at(tool_lab: Any) -> None:
    (tool_lab.root / "mine.txt").write_text("before\n")
    a, gate = tool_lab.agent("a")
    await a.start(command="echo after > mine.txt; echo new > new.txt; echo done; sleep 1007")
    await until(lambda: (tool_lab.root / "new.txt").exists() and "done" in "".join(o.data for o in gate.of(ProcOutput)))
    looked = await a.output("p1")
    assert looked.running
    assert "Undone, because you hold no claim on it: mine.txt, new.txt." in looked.violations
    assert (tool_lab.root / "mine.txt").read_text() == "before\n"
    assert not (tool_lab.root / "new.txt").exists()
    assert [guard.rule for guard in gate.of(Guard)] == ["unclaimed-write"]
    assert (await a.output("p1")).violations == ""


async def test_what_others_write_meanwhile_is_theirs(tool_lab: Any) -> None:
    (tool_lab.root / "n.txt").write_text("0\n")
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await a.start(command="sleep 1007", writes=["out/"])
    await b.edit("n.txt", "0", "1")
    await a.write("own.txt", "mine\n")
    assert (await a.output("p1")).violations == ""
    assert (await a.run(["true"])).violations == ""
    await b.edit("n.txt", "1", "2")
    assert (await a.stop("p1")).violations == ""
    assert (tool_lab.root / "n.txt").read_text() == "2\n"
    assert (tool_lab.root / "own.txt").read_text() == "mine\n"


async def test_a_command_beside_it_is_not_blamed_for_what_was_before(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    await a.start(command="sleep 1007", writes=["out/"])
    (tool_lab.root / "out").mkdir()
    (tool_lab.root / "out/n.txt").write_text("made by the one in the background\n")
    ran = await a.run("touch sub.txt", writes=["sub.txt"])
    assert ran.wrote == ("out/n.txt", "sub.txt"), "it is told with the next look"
    parents = {entry.body.path: entry.parent for entry in gate.entries if isinstance(entry.body, FileWrite)}
    assert set(parents) == {"out/n.txt", "sub.txt"}


async def test_a_claim_that_it_stands_on_is_not_given_back_before(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    held = await a.claim("dir:out")
    other = await a.claim("file:n.txt")
    await a.start(command="sleep 1007", writes=["out/x"])
    for attempt in (lambda: a.release("dir:out"), lambda: a.release(ticket=held.ticket)):
        with pytest.raises(
            errors.Refused, match=r"dir:out was not released: p1 \(bash -c sleep 1007\) runs.*stop\(id\)"
        ):
            await attempt()
    with pytest.raises(errors.Refused, match="give back everything"):
        await a.claim("file:m.txt", yields=True)
    with pytest.raises(errors.Refused, match=r"dir:out was not released.*the rest is released"):
        await a.release()
    assert [granted.ticket for granted in gate.grants()] == [held.ticket]
    assert other.ticket not in tool_lab.plane.tickets
    await a.stop("p1")
    await a.release()
    assert gate.grants() == ()


async def test_releasing_everything_leaves_it_what_it_took_itself(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    await a.claim("file:n.txt")
    await a.start(command="sleep 1007", writes=["out/"])
    await a.release()
    assert [granted.units for granted in gate.grants()] == [("dir:out",)]
    await a.stop("p1")
    assert gate.grants() == ()


async def test_it_is_stopped_when_its_grant_is_taken(tool_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_HELD", 0.02)
    a, gate = tool_lab.agent("a")
    await a.start(command="sleep 1007", unit="proc:test")
    (granted,) = gate.grants()
    await tool_lab.plane.revoke(granted.ticket, by="ada")
    over = await ended(a, "p1")
    assert over.why == "what it was granted was taken from it"
    assert processes.marked(gate.owner) == []


async def test_its_own_agent_is_never_made_to_wait_for_it(tool_lab: Any) -> None:
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await a.start(command="sleep 1007", unit="proc:test", writes=["out/"])
    assert (await a.run(["true"], unit="proc:test")).code == 0, "what it holds its agent holds"
    await a.write("out/n.txt", "x")
    await a.write("elsewhere.txt", "x")
    await b.claim("file:held.txt")
    async with asyncio.timeout(30):
        with pytest.raises(errors.WouldBlock, match=r"held by b.*p1 .*runs in the background.*stop\(id\)"):
            await a.write("held.txt", "x")
        with pytest.raises(errors.AlreadyHeld, match=r"p1 .*runs in the background"):
            await a.claim("proc:test")


# --- the words for a model ---------------------------------------------------------------------------------


async def test_a_model_is_told_how_it_is_and_how_to_go_on(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    begun = await a.call("Bash", {"command": "echo hi; sleep 1007", "run_in_background": True, "description": "waits"})
    assert as_text("Bash", begun).startswith(
        "p1 runs in the background: output('p1') shows what it prints, stop('p1') ends it"
    )
    await said(a, "p1", "hi")
    seen = as_text("BashOutput", await a.call("output", {"id": "p1", "since": 0}))
    assert seen.endswith("--- output, bytes 0-3 of 3\nhi")
    over = as_text("KillShell", await a.call("KillShell", {"shell_id": "p1"}))
    assert over == "p1 has ended with signal 15 (stopped)\n--- no further output"
    assert [e.status for e in gate.entries if isinstance(e.body, ToolResult)][-1] == "ok"


async def test_a_text_for_the_shell_is_given_to_the_shell(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    ran = await a.call("run", {"command": "echo $((1 + 1)) | cat && cd / && pwd"})
    assert ran["stdout"] == "2\n/\n"
    timed = await a.call("Bash", {"command": "sleep 1007", "timeout": 200})
    assert timed["timed_out"]


async def test_a_list_of_what_is_to_be_done_is_kept_by_its_call(tool_lab: Any) -> None:
    a, gate = tool_lab.agent("a")
    given = {
        "todos": [
            {"content": "look", "status": "completed", "activeForm": "Looking"},
            {"content": "do", "status": "in_progress"},
        ]
    }
    kept = await a.call("TodoWrite", given)
    assert list(kept["items"]) == [{"text": "look", "status": "done"}, {"text": "do", "status": "in_progress"}]
    assert as_text("TodoWrite", kept) == "[x] look\n[>] do"
    assert gate.of(ToolResult)[-1].output["items"] == list(kept["items"])
    assert as_text("todo", await a.call("todo", {"items": [{"text": "rest"}]})) == "[ ] rest"
    assert as_text("todo", await a.call("todo", {"items": []})) == "nothing to do"
    with pytest.raises(errors.BadRequest, match="Invalid enum value 'half'"):
        await a.call("todo", {"items": [{"text": "x", "status": "half"}]})


# --- a transcript ------------------------------------------------------------------------------------------


def test_of_what_a_server_says_for_days_the_end_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("agentlab.runner.tools.transcript.KEPT", 1000)
    transcript = Transcript(tmp_path)
    for number in range(1000):
        transcript.add(f"{number:09}\n".encode())
    assert transcript.size == 10_000
    start, text, _ = transcript.page(0, over=False)
    assert start >= 8000 and start % 10 == 0
    assert text.splitlines()[0] == f"{start // 10:09}"
    assert transcript.page(-10, over=True) == (9990, "000000999\n", 10_000)
    transcript.close()


def test_a_character_is_not_torn_between_two_pages(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path)
    transcript.add("é".encode()[:1])
    assert transcript.page(None, over=False) == (0, "", 0)
    transcript.add("é".encode()[1:] + b"x")
    assert transcript.page(None, over=False) == (0, "éx", 3)
    transcript.add(b"\xc3")
    assert transcript.page(None, over=True) == (3, "\ufffd", 4)
    transcript.close()


def test_a_page_has_a_bounded_number_of_lines_and_ends_with_a_whole_one(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path)
    transcript.add(b"\n" * 5_000)
    assert transcript.page(None, over=False) == (0, "\n" * LINES, LINES)
    assert transcript.page(9_999, over=False) == (5_000, "", 5_000)
    transcript.close()
