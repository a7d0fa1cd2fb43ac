from __future__ import annotations

import asyncio
import base64
import os
import stat
from hashlib import sha256

import pytest

from agentlab import errors
from agentlab.core.events import (
    Artifact,
    FileDelete,
    FileRead,
    FileRename,
    FileWrite,
    Message,
    PlanSet,
    ToolCall,
    ToolResult,
)
from agentlab.core.policy import Rule
from agentlab.runner.gate import Verdict
from agentlab.runner.tools.fence import Fences


def hash_of(data: str | bytes) -> str:
    return sha256(data.encode() if isinstance(data, str) else data).hexdigest()


async def test_a_write_without_a_claim_takes_its_file_for_the_length_of_the_call(tool_lab):
    a, gate = tool_lab.agent("a")
    change = await a.write("sub/n.txt", "one\n")
    assert (tool_lab.root / "sub/n.txt").read_text() == "one\n"
    assert (change.before, change.after, change.added) == (None, hash_of("one\n"), 1)
    assert gate.grants() == () and tool_lab.plane.tenures[1].units == ("file:sub/n.txt",)


async def test_a_write_waits_for_the_holder_and_is_then_refused_because_its_base_is_stale(tool_lab):
    (tool_lab.root / "n.txt").write_text("0\n")
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await a.claim("file:n.txt")
    await b.read("n.txt")
    waiting = asyncio.ensure_future(b.write("n.txt", "1 of b\n"))
    await a.read("n.txt")
    await a.write("n.txt", "1 of a\n")
    assert not waiting.done()
    await a.release()
    with pytest.raises(errors.StaleBase) as refusal:
        await waiting
    assert "-0\n+1 of a\n" in refusal.value.diff and refusal.value.diff in str(refusal.value)
    assert (tool_lab.root / "n.txt").read_text() == "1 of a\n"


async def test_even_the_holder_may_not_write_from_a_stale_read(tool_lab):
    path = tool_lab.root / "n.txt"
    path.write_text("old\n")
    a, _ = tool_lab.agent("a")
    await a.claim("file:n.txt")
    await a.read("n.txt")
    path.write_text("changed by an editor\n")
    for attempt in (
        lambda: a.write("n.txt", "new\n"),
        lambda: a.write("n.txt", "new\n", overwrite=True),
        lambda: a.edit("n.txt", "changed", "x"),
        lambda: a.patch("n.txt", "@@ -1 +1 @@\n-changed by an editor\n+x\n"),
        lambda: a.delete("n.txt"),
        lambda: a.move("n.txt", "m.txt"),
    ):
        with pytest.raises(errors.StaleBase, match="changed by somebody"):
            await attempt()
    assert path.read_text() == "changed by an editor\n"


async def test_a_file_that_was_never_read_is_not_written_over_unless_asked_for(tool_lab):
    (tool_lab.root / "n.txt").write_text("work of others\n")
    a, _ = tool_lab.agent("a")
    with pytest.raises(errors.StaleBase, match=r"Read it first.*overwrite=True"):
        await a.write("n.txt", "mine\n")
    assert not (await a.write("n.txt", "work of others\n")).changed
    b, _ = tool_lab.agent("b")
    assert (await b.write("n.txt", "mine\n", overwrite=True)).before == hash_of("work of others\n")


async def test_a_file_that_is_read_only_is_not_changed(tool_lab):
    (tool_lab.root / "kept.txt").write_text("one\n")
    (tool_lab.root / "kept.txt").chmod(0o444)
    a, _ = tool_lab.agent("a")
    await a.read("kept.txt")
    for change in (a.write("kept.txt", "two\n"), a.edit("kept.txt", "one", "two")):
        with pytest.raises(errors.Refused, match=r"kept\.txt is read-only.*chmod"):
            await change
    assert (tool_lab.root / "kept.txt").read_text() == "one\n"
    (tool_lab.root / "kept.txt").chmod(0o644)
    await a.edit("kept.txt", "one", "two")
    assert (tool_lab.root / "kept.txt").read_text() == "two\n"


async def test_a_base_that_is_given_must_be_what_is_there(tool_lab):
    (tool_lab.root / "n.txt").write_text("1")
    a, _ = tool_lab.agent("a")
    with pytest.raises(errors.StaleBase):
        await a.write("n.txt", "2", base=None)
    with pytest.raises(errors.StaleBase):
        await a.write("n.txt", "2", base=hash_of("0"))
    await a.write("n.txt", "2", base=hash_of("1"))
    await a.write("new.txt", "x", base=None)
    with pytest.raises(errors.StaleBase, match="was deleted"):
        await a.write("gone.txt", "x", base=hash_of("1"))


async def test_a_file_that_somebody_created_after_we_saw_that_there_was_none_is_kept(tool_lab):
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    with pytest.raises(errors.NotFound):
        await a.read("n.txt")
    await b.write("n.txt", "b was first\n")
    with pytest.raises(errors.StaleBase, match="created by somebody"):
        await a.write("n.txt", "a\n")


async def test_explicit_claims_refuse_a_write_outside_of_them(tool_lab):
    a, _ = tool_lab.agent("a", claims="explicit")
    for attempt in (lambda: a.write("n.txt", "1"), lambda: a.run(["true"]), lambda: a.write("src2/n.txt", "1")):
        with pytest.raises(errors.NotHeld, match="claim"):
            await attempt()
    await a.claim("dir:src")
    await a.write("src/deep/n.txt", "1")
    with pytest.raises(errors.NotHeld):
        await a.write("src2/n.txt", "1")


async def test_whoever_holds_something_is_refused_rather_than_queued(tool_lab):
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await a.claim("file:a.txt")
    await b.claim("file:b.txt")
    with pytest.raises(errors.WouldBlock, match=r"held by a[,;]"):
        await b.write("a.txt", "x")


async def test_a_shared_grant_allows_no_write(tool_lab):
    (a, _), (b, _) = tool_lab.agent("a", claims="explicit"), tool_lab.agent("b", claims="explicit")
    await a.claim("file:n.txt", mode="shared")
    await b.claim("file:n.txt", mode="shared")
    with pytest.raises(errors.NotHeld):
        await a.write("n.txt", "x")


async def test_a_holder_that_slept_past_its_lease_cannot_write_after_its_successor(tool_lab):
    (a, a_gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    old = await a.claim("file:n.txt")
    await tool_lab.plane.drop(old.ticket)  # the lease ran out; a was stopped and does not know
    await b.claim("file:n.txt")
    await b.write("n.txt", "successor\n")
    a_gate.held = lambda unit, mode="X": old  # type: ignore[method-assign]
    with pytest.raises(errors.StaleToken, match="later grant"):
        await a.write("n.txt", "ghost\n", overwrite=True)
    assert (tool_lab.root / "n.txt").read_text() == "successor\n"


async def test_the_grant_is_looked_at_again_at_the_moment_of_the_write(tool_lab):
    a, gate = tool_lab.agent("a")
    await a.claim("file:n.txt")
    live = gate.held
    answers = iter([True])
    gate.held = lambda unit, mode="X": live(unit) if next(answers, False) else None  # type: ignore[method-assign]
    with pytest.raises(errors.StaleToken, match="ended meanwhile"):
        await a.write("n.txt", "late\n")
    assert not (tool_lab.root / "n.txt").exists()


async def test_writers_of_one_file_take_turns_at_its_fence(tool_lab, tmp_path):
    fences = Fences(tmp_path / "home" / "fences")
    a, _ = tool_lab.agent("a")
    async with fences.locked(tool_lab.root / "n.txt", "n.txt"):
        writing = asyncio.ensure_future(a.write("n.txt", "x"))
        await asyncio.sleep(0.05)
        assert not writing.done() and not (tool_lab.root / "n.txt").exists()
    await writing
    fence = next((tmp_path / "home" / "fences").iterdir())
    assert fence.stat().st_mode & 0o777 == 0o600 and fence.name == hash_of(str(tool_lab.root / "n.txt"))


async def test_every_change_is_recorded_with_hashes_contents_and_its_diff(tool_lab):
    a, gate = tool_lab.agent("a")
    await a.write("n.txt", "1\n2\n")
    await a.edit("n.txt", "2", "two")
    await a.move("n.txt", "m.txt")
    await a.delete("m.txt")
    created, edited = gate.of(FileWrite)
    assert (created.before, created.after, created.added, created.removed) == (None, hash_of("1\n2\n"), 2, 0)
    assert (edited.before, edited.after, edited.added, edited.removed) == (created.after, hash_of("1\ntwo\n"), 1, 1)
    assert edited.token > created.token and edited.via == "tool" and edited.stored
    blobs = tool_lab.plane.blobs
    assert blobs[created.after] == b"1\n2\n" and blobs[edited.after] == b"1\ntwo\n"
    assert b"-2\n+two\n" in blobs[edited.diff]
    assert [artifact.hash for artifact in gate.of(Artifact)][:2] == [created.diff, edited.diff]
    (renamed,), (deleted,) = gate.of(FileRename), gate.of(FileDelete)
    assert (renamed.path, renamed.to, renamed.before) == ("n.txt", "m.txt", edited.after)
    assert (deleted.path, deleted.before) == ("m.txt", edited.after)


async def test_the_mode_of_a_file_survives_a_write(tool_lab):
    script = tool_lab.root / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    a, gate = tool_lab.agent("a")
    await a.read("run.sh")
    await a.write("run.sh", "#!/bin/sh\ntrue\n")
    assert script.stat().st_mode & 0o777 == 0o755 and gate.of(FileWrite)[0].mode == 0o755


async def test_a_read_records_what_was_read(tool_lab):
    (tool_lab.root / "n.txt").write_text("a\nb\nc\n")
    a, gate = tool_lab.agent("a")
    assert await a.read("n.txt") == "a\nb\nc\n"
    assert await a.read("n.txt", 2, 2) == "b\n" and await a.read("n.txt", start=3) == "c\n"
    assert await a.read_bytes("n.txt", 2, 4) == b"b\n"
    with pytest.raises(errors.NotFound, match="list"):
        await a.read("missing.txt")
    whole = FileRead(path="n.txt", hash=hash_of("a\nb\nc\n"), size=6)
    assert gate.of(FileRead) == [whole] * 4 + [FileRead(path="missing.txt", hash=None)]


@pytest.mark.parametrize(("start", "end"), [(1, 1), (1, None), (2, 3), (3, 3), (4, 9), (None, 2)])
async def test_ranges_are_those_of_the_lines_also_across_the_pieces_that_are_read(tool_lab, start, end):
    lines = [f"{n}:" + "x" * 700_000 + "\n" for n in range(1, 4)]
    (tool_lab.root / "n.txt").write_text("".join(lines))
    a, _ = tool_lab.agent("a")
    assert await a.read("n.txt", start, end) == "".join(lines[(start or 1) - 1 : end])


async def test_binary_and_foreign_text_is_refused_by_read_and_says_what_to_do(tool_lab):
    (tool_lab.root / "b.bin").write_bytes(b"\x7fELF\0\0")
    (tool_lab.root / "l.txt").write_bytes("café".encode("latin-1"))
    a, _ = tool_lab.agent("a")
    with pytest.raises(errors.BadRequest, match=r"binary.*read_bytes"):
        await a.read("b.bin")
    with pytest.raises(errors.BadRequest, match=r"no UTF-8.*0xe9 at offset 3.*read_bytes"):
        await a.read("l.txt")
    with pytest.raises(errors.BadRequest, match="no UTF-8"):
        await a.edit("l.txt", "caf", "x")
    assert await a.read_bytes("b.bin") == b"\x7fELF\0\0"
    assert base64.b64decode(await a.call("read_bytes", {"path": "b.bin"})) == b"\x7fELF\0\0"
    await a.write("b.bin", b"\0\1\2")
    assert (tool_lab.root / "b.bin").read_bytes() == b"\0\1\2"


async def test_a_file_of_2_gib_is_not_read_as_a_whole(tool_lab):
    with (tool_lab.root / "big").open("wb") as file:
        file.truncate(2**31)
    a, _ = tool_lab.agent("a")
    for read in (a.read, a.read_bytes):
        with pytest.raises(errors.BadRequest, match=r"2147483648 bytes.*start="):
            await read("big")


async def test_content_over_the_limit_is_recorded_by_its_hash_only(tool_lab):
    a, gate = tool_lab.agent("a", blob_limit=1000)
    await a.write("big.txt", "x" * 2000)
    (written,) = gate.of(FileWrite)
    assert not written.stored and written.after == hash_of("x" * 2000) and written.after not in tool_lab.plane.blobs
    with pytest.raises(errors.BadRequest, match="2000 bytes"):
        await a.read("big.txt")
    assert len(await a.read_bytes("big.txt", 0, 10)) == 10


async def test_a_patch_that_does_not_apply_says_what_is_there_and_changes_nothing(tool_lab):
    (tool_lab.root / "n.txt").write_text("a\nb\nc\n")
    a, gate = tool_lab.agent("a")
    with pytest.raises(errors.PatchFailed, match=r"(?s)does not match.*-x.*What is there.* b\n"):
        await a.patch("n.txt", "@@ -2 +2 @@\n-x\n+y\n")
    with pytest.raises(errors.PatchFailed, match=r"not in n\.txt"):
        await a.edit("n.txt", "nowhere", "y")
    (tool_lab.root / "two.txt").write_text("x x")
    with pytest.raises(errors.PatchFailed, match="2 times"):
        await a.edit("two.txt", "x", "y")
    assert (tool_lab.root / "n.txt").read_text() == "a\nb\nc\n" and not gate.of(FileWrite)
    await a.patch("new.txt", "--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+hello\n")
    assert (tool_lab.root / "new.txt").read_text() == "hello\n"


async def test_a_directory_or_something_that_exists_is_no_target(tool_lab):
    (tool_lab.root / "d").mkdir()
    (tool_lab.root / "n.txt").write_text("n")
    (tool_lab.root / "m.txt").write_text("m")
    (tool_lab.root / "l").symlink_to("n.txt")
    a, _ = tool_lab.agent("a")
    for attempt in (
        lambda: a.read("d"),
        lambda: a.write("d", "x"),
        lambda: a.write("n.txt/x", "x"),
        lambda: a.delete("d"),
        lambda: a.move("n.txt", "m.txt"),
        lambda: a.delete("l"),
        lambda: a.write("x" * 300, "x"),
    ):
        with pytest.raises(errors.BadRequest):
            await attempt()
    assert (tool_lab.root / "n.txt").read_text() == "n" and (tool_lab.root / "l").is_symlink()


async def test_two_spellings_are_one_file_and_one_unit(tool_lab):
    (tool_lab.root / "src").mkdir()
    (tool_lab.root / "link").symlink_to("src")
    a, gate = tool_lab.agent("a")
    await a.claim("file:link/../link/n.txt")
    assert gate.grants()[0].units == ("file:src/n.txt",)
    await a.write(str(tool_lab.root / "src" / "n.txt"), "1")
    await a.write("./link//n.txt", "2")
    assert [w.path for w in gate.of(FileWrite)] == ["src/n.txt", "src/n.txt"]


async def test_many_agents_counting_in_one_file_lose_nothing(tool_lab):
    (tool_lab.root / "n.txt").write_text("0")

    async def count(name: str) -> None:
        host, _ = tool_lab.agent(name)
        for _ in range(10):
            granted = await host.claim("file:n.txt")
            await host.write("n.txt", str(int(await host.read("n.txt")) + 1))
            await host.release(ticket=granted.ticket)

    await asyncio.gather(*(count(f"a{n}") for n in range(8)))
    assert (tool_lab.root / "n.txt").read_text() == "80"


async def test_parallel_calls_of_one_agent_do_not_refuse_each_other(tool_lab):
    (a, gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    held = await b.claim("file:n3.txt")
    calls = [asyncio.ensure_future(a.write(f"n{n}.txt", "x")) for n in range(6)]
    await asyncio.sleep(0.05)
    await b.release(ticket=held.ticket)
    await asyncio.gather(*calls)
    assert len(gate.of(FileWrite)) == 6 and gate.grants() == ()


# --- several edits at once ---------------------------------------------------------------------------------


async def test_several_edits_are_one_change_each_made_in_what_those_before_it_left(tool_lab):
    (tool_lab.root / "n.txt").write_text("one\ntwo\ntwo\nfour\n")
    a, gate = tool_lab.agent("a")
    edits = [{"old": "one", "new": "1"}, {"old": "two", "new": "2", "all": True}, {"old": "1\n2\n", "new": "12\n"}]
    change = await a.multi_edit("n.txt", edits)
    assert (tool_lab.root / "n.txt").read_text() == "12\n2\nfour\n"
    assert (change.added, change.removed, len(gate.of(FileWrite))) == (2, 3, 1)
    assert len(tool_lab.plane.tenures) == 1 and gate.grants() == ()


@pytest.mark.parametrize(
    ("edits", "error", "says"),
    [
        (
            [{"old": "one", "new": "1"}, {"old": "three", "new": "3"}],
            errors.PatchFailed,
            r"Edit 2 of 2: .*not in n\.txt",
        ),
        (
            [{"old": "o", "new": "0"}, {"old": "t", "new": "T"}],
            errors.PatchFailed,
            "Edit 1 of 2: .*2 times.*lines 1, 2",
        ),
        ([{"old": "one", "new": "1"}, {"old": "one", "new": "2"}], errors.PatchFailed, "Edit 2 of 2: "),
        ([{"old": "one", "new": "one"}], errors.BadRequest, "Edit 1 of 1: .*the same.*Nothing was changed"),
        ([], errors.BadRequest, "multi_edit: .*length"),
        ([{"old": "", "new": "x"}], errors.BadRequest, "multi_edit: .*length"),
    ],
)
async def test_the_first_edit_that_fails_is_named_and_nothing_is_written(tool_lab, edits, error, says):
    (tool_lab.root / "n.txt").write_text("one\ntwo\n")
    a, gate = tool_lab.agent("a")
    with pytest.raises(error, match=says):
        await a.multi_edit("n.txt", edits)
    assert (tool_lab.root / "n.txt").read_text() == "one\ntwo\n" and gate.of(FileWrite) == []


async def test_several_edits_of_two_agents_are_made_one_after_the_other(tool_lab):
    (tool_lab.root / "n.txt").write_text("".join(f"line {number}\n" for number in range(10)))
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    mine = [{"old": f"line {number}\n", "new": f"a {number}\n"} for number in range(0, 10, 2)]
    yours = [{"old": f"line {number}\n", "new": f"b {number}\n"} for number in range(1, 10, 2)]
    await asyncio.gather(a.multi_edit("n.txt", mine), b.multi_edit("n.txt", yours))
    assert (tool_lab.root / "n.txt").read_text() == "".join(f"{'ab'[n % 2]} {n}\n" for n in range(10))


# --- the door ----------------------------------------------------------------------------------------------


async def test_every_call_is_recorded_with_how_it_ended(tool_lab):
    (a, gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await b.claim("file:held.txt")
    await a.call("write", {"path": "n.txt", "data": "1"}, call_id="c1", vendor={"name": "mcp__lab__write"})
    with pytest.raises(errors.NotFound):
        await a.call("read", {"path": "missing"})
    with pytest.raises(errors.OutsideWorkspace):
        await a.call("read", {"path": "../secret"})
    waiting = asyncio.ensure_future(a.write("held.txt", "x"))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    ended = [e for e in gate.entries if isinstance(e.body, ToolResult)]
    assert [(e.name, e.status) for e in ended] == [
        ("write", "ok"),
        ("read", "error"),
        ("read", "denied"),
        ("write", "cancelled"),
    ]
    assert gate.of(ToolCall)[0] == ToolCall(
        call="c1", args={"path": "n.txt", "data": "1"}, vendor={"name": "mcp__lab__write"}
    )
    assert ended[0].body.output["after"] == hash_of("1") and ended[0].dur_ns > 0
    written = next(e for e in gate.entries if isinstance(e.body, FileWrite))
    assert written.parent == "c1" == ended[0].span
    assert len(tool_lab.plane.tickets) == 1  # the cancelled one gave its place back


async def test_long_values_go_to_the_store(tool_lab):
    a, gate = tool_lab.agent("a")
    text = "long\n" * 10_000
    await a.write("n.txt", text)
    assert gate.of(ToolCall)[0].args["data"] == {"$blob": hash_of(text), "size": len(text)}
    assert tool_lab.plane.blobs[hash_of(text)] == text.encode()


@pytest.mark.parametrize(
    ("tool", "args", "says"),
    [
        ("write", {"path": "n", "colour": "x"}, "no option 'colour'.*path, data"),
        ("write", {"path": "n"}, "'data' is missing"),
        ("read", {"path": 1}, "read: .*str"),
        ("run", {"argv": []}, "run: "),
        ("claim", {"units": ["file:a"], "mode": "mine"}, "claim: "),
        ("claim", {"units": ["flie:a"]}, "no work unit"),
        ("claim", {"units": []}, "at least one"),
        ("write", {"path": "n", "data": "%%%", "encoding": "base64"}, "base64"),
        ("rm", {}, "no tool 'rm'.*read, "),
    ],
)
async def test_a_call_that_makes_no_sense_says_what_there_is(tool_lab, tool, args, says):
    a, _ = tool_lab.agent("a")
    with pytest.raises(errors.BadRequest, match=says):
        await a.call(tool, args)


async def test_a_tool_that_there_is_not_is_refused_with_those_there_are(tool_lab):
    with pytest.raises(errors.BadRequest, match=r"no tool 'raed', 'rn'\. There are: read, .*run"):
        tool_lab.agent("a", tools=("raed", "write", "rn"))


async def test_the_catalogue_is_limited_to_the_tools_of_the_spec(tool_lab):
    a, _ = tool_lab.agent("a", tools=("read", "list"))
    assert [tool.name for tool in a.catalogue()] == ["read", "list"]
    with pytest.raises(errors.Forbidden, match="read, list"):
        await a.write("n.txt", "x")
    everything = {tool.name: tool for tool in tool_lab.agent("b")[0].catalogue()}
    write = everything["write"]
    assert write.schema["required"] == ["path", "data"]
    assert "read first" in write.description and not write.read_only and everything["read"].read_only


async def test_claims_are_named_by_what_the_disk_says_and_given_back(tool_lab):
    a, gate = tool_lab.agent("a")
    granted = await a.call("claim", {"units": ["dir:x/../src", "proc:test"]})
    assert granted["units"] == ["dir:src", "proc:test"] and granted["mode"] == "X"
    with pytest.raises(errors.AlreadyHeld):
        await a.claim("dir:src")
    await a.release("dir:src")
    assert gate.held("dir:src") is None and gate.held("proc:test")
    await a.release()
    assert gate.grants() == ()


async def test_artifacts_plans_questions_and_words_reach_the_log(tool_lab):
    a, gate = tool_lab.agent("a")
    tool_lab.plane.answers.append("blue")
    kept = await a.artifact("report", b"\xff\x00", "report")
    assert tool_lab.plane.blobs[kept.hash] == b"\xff\x00"
    assert await a.ask("Which?", ["red", "blue"]) == "blue"
    await a.plan(["think", "write"], ["file:./n.txt"])
    await a.say("done")
    assert gate.of(Artifact)[0].kind == "report" and gate.of(Message)[0].text == "done"
    assert gate.of(PlanSet)[0] == PlanSet(steps=("think", "write"), units=("file:n.txt",))


async def test_lists_and_searches(tool_lab):
    (tool_lab.root / "src/deep").mkdir(parents=True)
    (tool_lab.root / ".git").mkdir()
    for name in ("src/a.py", "src/deep/b.py", "c.txt", ".git/config.py"):
        (tool_lab.root / name).write_text("x = 1\nneedle: 2\n")
    os.mkfifo(tool_lab.root / "fifo")
    (tool_lab.root / "out").symlink_to("/etc")
    a, _ = tool_lab.agent("a")
    assert await a.list("src") == ["src/a.py", "src/deep/"]
    assert await a.list(pattern="*.py") == ["src/a.py", "src/deep/b.py"]
    assert await a.list("src", "*/*.py") == ["src/deep/b.py"]
    assert await a.search("^needle", glob="*.py") == ["src/a.py:2:needle: 2", "src/deep/b.py:2:needle: 2"]
    assert await a.search("^needle", "c.txt") == ["c.txt:2:needle: 2"]
    assert await a.search("nothing") == []
    with pytest.raises(errors.BadRequest, match="regular expression"):
        await a.search("(")
    with pytest.raises(errors.NotFound):
        await a.search("x", "nowhere")
    with pytest.raises(errors.OutsideWorkspace):
        await a.list("out")


async def test_a_write_under_a_revoked_claim_is_refused_and_says_who_revoked_it_and_why(tool_lab):
    a, gate = tool_lab.agent("a")
    granted = await a.claim("file:n.txt")
    await a.write("n.txt", "1\n")
    await tool_lab.plane.revoke(granted.ticket, by="ada", why="lunch")
    with pytest.raises(errors.StaleToken, match=r"file:n.txt was revoked by ada: lunch\. Nothing was done\."):
        await a.write("n.txt", "2\n")
    assert (tool_lab.root / "n.txt").read_text() == "1\n"
    assert gate.of(ToolResult)[-1].error.startswith("file:n.txt was revoked by ada: lunch.")
    await a.claim("file:n.txt")
    await a.write("n.txt", "3\n")
    assert (tool_lab.root / "n.txt").read_text() == "3\n"


async def test_a_revocation_in_the_middle_of_a_call_is_found_by_its_token(tool_lab, monkeypatch):
    a, gate = tool_lab.agent("a")
    keep, plane = gate.keep, tool_lab.plane

    async def keep_and_lose(data):
        for ticket in plane.of(gate.owner):
            await plane.revoke(ticket.number, by="ada")
        return await keep(data)

    monkeypatch.setattr(gate, "keep", keep_and_lose)
    with pytest.raises(errors.StaleToken, match=r"file:n\.txt was revoked by ada"):
        await a.write("n.txt", "1\n")
    assert not (tool_lab.root / "n.txt").exists()


async def test_a_rule_of_the_workspace_stops_a_call_of_our_own_tools_before_it_is_done(tool_lab):
    (tool_lab.root / "agentlab.toml").write_text('[[policy]]\naction = "reject"\nunit = "file:secret/*"\n')
    a, gate = tool_lab.agent("a")
    await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="policy", reason="not yours"))
    with pytest.raises(errors.Refused, match=r"write was not allowed \(denied by policy: not yours\)"):
        await a.write("secret/x", "1")
    assert not (tool_lab.root / "secret").exists()
    assert gate.entries[-1].status == "denied"
    (request,) = tool_lab.plane.asked
    assert (request.tool, request.units) == ("write", ("file:secret/x",))
    await a.write("open.txt", "1")
    assert len(tool_lab.plane.asked) == 1, "nothing else is asked"


async def test_who_is_asked_about_a_command_sees_its_words_apart_and_that_there_are_more(tool_lab):
    (tool_lab.root / "agentlab.toml").write_text('[[policy]]\naction = "ask"\ntool = "run"\n')
    a, _ = tool_lab.agent("a")
    for argv in (["rm", "a file", "b"], ["echo", "x" * 300]):
        await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="ann"))
        with pytest.raises(errors.Refused):
            await a.run(argv)
    short, long = (request.question for request in tool_lab.plane.asked)
    assert short == "May it run rm 'a file' b?"
    assert long.endswith("x [... 105 characters more]?")


async def test_a_rule_against_edits_stops_them_in_every_form(tool_lab):
    """Also in a vendor's words for one of them."""
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="reject", tool="edit"), Rule(action="reject", tool="read")))
    await a.write("x", "one two")
    several = {"file_path": "x", "edits": [{"old_string": "one", "new_string": "1"}]}
    calls = (
        a.edit("x", "one", "1"),
        a.multi_edit("x", [{"old": "one", "new": "1"}]),
        a.call("MultiEdit", several),
        a.patch("x", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one two\n\\ No newline at end of file\n+1 two\n"),
        a.read("x"),
        a.read_bytes("x"),
    )
    for call in calls:
        await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="policy"))
        with pytest.raises(errors.Refused, match="was not allowed"):
            await call
    asked = [request.tool for request in tool_lab.plane.asked]
    assert asked == ["edit", "multi_edit", "multi_edit", "patch", "read", "read_bytes"]
    assert (tool_lab.root / "x").read_text() == "one two"


async def test_our_own_tools_are_asked_about_where_a_person_wants_it_and_a_workspace_does_not_say_yes(tool_lab):
    (tool_lab.root / "agentlab.toml").write_text('[[policy]]\naction = "approve"\n')
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="ask", tool="delete"),))
    await a.write("x", "1")
    await tool_lab.plane.answer(Verdict(allowed=True, answer="approved", by="ada"))
    await a.delete("x")
    assert [request.tool for request in tool_lab.plane.asked] == ["delete"]


async def test_a_search_in_a_folder_leaves_out_what_a_rule_is_against_reading_and_says_so(tool_lab):
    for name in ("a.txt", "secret/key.txt", "secret/other.txt", "drafts/d.txt", "logs/l.txt"):
        (tool_lab.root / name).parent.mkdir(exist_ok=True)
        (tool_lab.root / name).write_text("needle\n")
    rules = (
        Rule(action="reject", unit="file:secret/*", reason="not for agents"),
        Rule(action="ask", tool="read", unit="file:drafts/*"),
        Rule(action="reject", tool="search", unit="file:logs/*"),
        Rule(action="reject", tool="write", unit="file:a.txt"),
    )
    a, _ = tool_lab.agent("a", home_rules=rules)
    hit, *notes = await a.search("needle")
    assert hit == "a.txt:1:needle"
    assert sorted(notes) == [
        "[2 files (secret/key.txt, ...) were left out by the rule `reject 'unit=file:secret/*'` (not for agents)]",
        "[drafts/d.txt was left out: somebody has to allow it, by the rule `ask tool=read 'unit=file:drafts/*'`; read or search "
        "one by itself, and that is asked]",
        "[logs/l.txt was left out by the rule `reject tool=search 'unit=file:logs/*'`]",
    ]
    assert await a.search("needle", glob="a.*") == [hit]
    assert await a.search("needle", "secret", mode="count") == [
        "[2 files (secret/key.txt, ...) were left out by the rule `reject 'unit=file:secret/*'` (not for agents)]"
    ]
    assert tool_lab.plane.asked == []


@pytest.mark.parametrize("path", ["drafts/d.txt", "logs/l.txt"])
async def test_a_file_that_a_rule_is_about_is_asked_about_when_it_alone_is_searched(tool_lab, path):
    for name in ("drafts/d.txt", "logs/l.txt"):
        (tool_lab.root / name).parent.mkdir()
        (tool_lab.root / name).write_text("needle\n")
    rules = (
        Rule(action="ask", tool="read", unit="file:drafts/*"),
        Rule(action="ask", tool="search", unit="file:logs/*"),
    )
    a, _ = tool_lab.agent("a", home_rules=rules)
    await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="ann"))
    with pytest.raises(errors.Refused, match=r"was not allowed \(denied by ann\)"):
        await a.search("needle", path)
    await tool_lab.plane.answer(Verdict(allowed=True, answer="approved", by="ann"))
    assert await a.search("needle", path) == [f"{path}:1:needle"]
    assert [asked.units for asked in tool_lab.plane.asked] == [(f"file:{path}",)] * 2


@pytest.mark.parametrize("tool", ["read", "search", "*"])
async def test_a_rule_that_names_no_files_is_asked_once_for_a_whole_search(tool_lab, tool):
    for name in ("a.txt", "b.txt"):
        (tool_lab.root / name).write_text("needle\n")
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="ask", tool=tool),))
    await tool_lab.plane.answer(Verdict(allowed=True, answer="approved", by="ann"))
    assert await a.search("needle") == ["a.txt:1:needle", "b.txt:1:needle"]
    assert len(tool_lab.plane.asked) == 1


async def test_who_is_asked_about_a_change_of_a_file_sees_the_difference_that_it_would_make(tool_lab):
    (tool_lab.root / "notes").write_text("one\ntwo\n")
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="ask"),))
    calls = {
        "write": lambda: a.write("notes", "one\nTWO\n", overwrite=True),
        "edit": lambda: a.edit("notes", "two", "TWO"),
        "multi_edit": lambda: a.multi_edit("notes", [{"old": "tw", "new": "TW"}, {"old": "TWo", "new": "TWO"}]),
        "patch": lambda: a.patch("notes", "--- a/notes\n+++ b/notes\n@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n"),
    }
    for call in calls.values():
        await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="ada"))
        with pytest.raises(errors.Refused, match="denied"):
            await call()
    assert [request.tool for request in tool_lab.plane.asked] == [*calls]
    for request in tool_lab.plane.asked:
        assert request.diff.splitlines()[-3:] == [" one", "-two", "+TWO"], request.tool
    assert (tool_lab.root / "notes").read_text() == "one\ntwo\n"


async def test_a_difference_is_shown_where_there_is_one_to_show(tool_lab):
    (tool_lab.root / "gone").write_text("last words\n")
    (tool_lab.root / "picture").write_bytes(b"\x89PNG\0")
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="ask"),))
    calls = [
        lambda: a.write("new/file", "fresh\n"),
        lambda: a.delete("gone"),
        lambda: a.write("picture", b"\x89PNG\0\1", overwrite=True),
        lambda: a.edit("missing", "old", "new"),
        lambda: a.run(["true"]),
    ]
    for call in calls:
        await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="ada"))
        with pytest.raises(errors.Refused, match="denied"):
            await call()
    new, gone, *rest = (request.diff for request in tool_lab.plane.asked)
    assert new.splitlines()[0] == "--- /dev/null" and new.splitlines()[-1] == "+fresh"
    assert gone.splitlines()[1] == "+++ /dev/null" and gone.splitlines()[-1] == "-last words"
    assert rest == [None, None, None]
    assert not (tool_lab.root / "new").exists()


async def test_a_program_that_runs_as_its_owner_does_not_do_so_with_other_content(tool_lab):
    a, _ = tool_lab.agent("a")
    (a.root / "tool").write_text("old")
    (a.root / "tool").chmod(0o4755)
    await a.read("tool")
    await a.write("tool", "new")
    assert stat.S_IMODE((a.root / "tool").stat().st_mode) == 0o755
