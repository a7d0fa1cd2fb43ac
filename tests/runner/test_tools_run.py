from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from hashlib import sha256

import pytest
from toolbox import until

from agentlab import errors, processes
from agentlab.core.events import (
    Artifact,
    FileDelete,
    FileWrite,
    Guard,
    ProcExit,
    ProcOutput,
    ProcStart,
    ToolResult,
)
from agentlab.core.policy import Rule
from agentlab.runner.gate import Verdict
from agentlab.runner.tools import PINNED, output, policy

PY = sys.executable


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def python(code: str) -> list[str]:
    return [PY, "-c", code]


async def test_of_output_without_end_the_beginning_is_kept_and_the_end_shown(tool_lab, monkeypatch):
    monkeypatch.setattr(output, "KEPT", 100_000)
    a, gate = tool_lab.agent("a")
    ran = await a.run(python("import sys; sys.stdout.write('a' * 1_000_000 + 'the end')"))
    (artifact,) = [b for b in gate.of(Artifact) if b.kind == "output"]
    assert artifact.size == 100_000
    assert ran.stdout.endswith("aaathe end")
    assert "1000007" not in ran.stdout and "its first 100000 bytes are kept" in ran.stdout
    ran = await a.run(python("import sys; sys.stdout.write('b' * 99_990 + 'c' * 10)"))
    assert ran.stdout.endswith("b" + "c" * 10)


async def test_a_command_whose_output_cannot_be_kept_is_ended(tool_lab, monkeypatch):
    def full(self: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    a, _ = tool_lab.agent("a")
    monkeypatch.setattr(output.Output, "feed", full)
    running = asyncio.ensure_future(a.run(python("while True: print('x' * 100_000)")))
    await asyncio.wait({running}, timeout=60)
    assert running.done(), "nobody reads on, so it would never end"
    with pytest.raises(errors.Unavailable, match="No space left"):
        await running
    await until(lambda: not processes.marked(a.gate.owner), 60)
    monkeypatch.undo()
    assert (await a.run(["true"])).code == 0


@pytest.fixture
def dug(tool_lab):
    """What digs folders in each other, more than Python goes down. They are gone before pytest tidies up."""
    yield "import os\nfor _ in range(1500): os.mkdir('d'); os.chdir('d')\nopen('there', 'w').close()"
    subprocess.run(["rm", "-rf", tool_lab.root, tool_lab.home], check=True)


async def test_folders_in_each_other_without_end_hinder_nobody(tool_lab, dug):
    a, _ = tool_lab.agent("a")
    (a.root / "near.txt").write_text("found\n")
    await a.run(python(dug), writes=["d/"])
    assert (await a.run(["true"])).code == 0
    assert await a.search("found") == ["near.txt:1:found"]
    assert await a.glob("**/*.txt") == ["near.txt"]
    ran = await a.run(python("open('near.txt', 'w').write('lost')"))
    assert "near.txt" in ran.violations
    assert (a.root / "near.txt").read_text() == "found\n"
    await a.run(["sh", "-c", f'cd "$THERE" && {PY} -c "$DIG"'], env={"DIG": dug, "THERE": str(a.scratch)})
    assert (a.scratch / "d" / "d").is_dir()
    await a.close()
    assert not list((tool_lab.home / "private").glob("*/tmp"))


async def test_a_run_returns_what_the_program_printed_and_how_it_ended(tool_lab):
    a, gate = tool_lab.agent("a")
    ran = await a.run(python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (ran.code, ran.signal, ran.stdout, ran.stderr, ran.timed_out) == (3, None, "out\n", "err\n", False)
    ran = await a.run(python("import os; os.kill(os.getpid(), 9)"))
    assert (ran.code, ran.signal) == (None, 9)
    start, exit = gate.of(ProcStart)[0], gate.of(ProcExit)[0]
    assert start.proc == exit.proc and start.argv[0] == PY and start.token and exit.code == 3 and exit.rusage
    assert {(o.fd, o.data) for o in gate.of(ProcOutput)} == {(1, "out\n"), (2, "err\n")}
    assert [e.status for e in gate.entries if isinstance(e.body, ProcExit)] == ["error", "signal"]


async def test_the_environment_is_pinned_and_carries_the_agent(tool_lab):
    a, gate = tool_lab.agent("a")
    ran = await a.run(["env"], env={"MINE": "1"})
    seen = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert PINNED.items() <= seen.items() and seen["MINE"] == "1" and seen["AGENTLAB_AGENT"] == gate.owner
    assert "GIT_AUTHOR_DATE" not in seen and gate.of(ProcStart)[0].env == {"MINE": "1"}


async def test_input_and_directory_are_given(tool_lab):
    (tool_lab.root / "sub").mkdir()
    a, _ = tool_lab.agent("a")
    ran = await a.run(python("import os, sys; print(os.getcwd(), sys.stdin.read())"), cwd="sub", stdin="hello")
    assert ran.stdout == f"{tool_lab.root / 'sub'} hello\n"
    with pytest.raises(errors.OutsideWorkspace):
        await a.run(["true"], cwd="..")
    with pytest.raises(errors.NotFound):
        await a.run(["true"], cwd="missing")


async def test_a_text_is_split_but_never_given_to_a_shell(tool_lab):
    a, _ = tool_lab.agent("a")
    assert (await a.run("printf %s 'two words'")).stdout == "two words"
    assert (await a.run(["bash", "-lc", "echo 1 && echo 2"])).stdout == "1\n2\n"
    for text in ("ls | wc", "a && b", "a; b", "echo x > f", "echo $(id)", "echo `id`", "sleep 1 &", "a\nb"):
        with pytest.raises(errors.BadRequest, match="bash"):
            await a.run(text)
    assert (await a.run("echo 'a | b'")).stdout == "a | b\n"
    with pytest.raises(errors.BadRequest, match="cannot be split"):
        await a.run("echo 'open")


async def test_a_program_that_is_not_there_is_named(tool_lab):
    (tool_lab.root / "data.txt").write_text("x")
    a, gate = tool_lab.agent("a")
    with pytest.raises(errors.NotFound, match="no-such-program"):
        await a.run(["no-such-program"])
    with pytest.raises(errors.Forbidden, match="x bit"):
        await a.run(["./data.txt"])
    assert not gate.of(ProcStart) and gate.grants() == ()


# --- output ------------------------------------------------------------------------------------------------


async def test_long_output_is_whole_in_the_store_and_short_for_the_agent(tool_lab):
    a, gate = tool_lab.agent("a")
    ran = await a.run(python("print('\\n'.join(f'{n:08}' for n in range(20_000)))"))
    whole = "".join(f"{n:08}\n" for n in range(20_000))
    (artifact,) = [b for b in gate.of(Artifact) if b.kind == "output"]
    assert tool_lab.plane.blobs[artifact.hash] == whole.encode()
    assert "".join(o.data for o in gate.of(ProcOutput)) == whole
    assert max(len(o.data.encode()) for o in gate.of(ProcOutput)) <= 8192
    assert len(ran.stdout) < 31_000 and ran.stdout.startswith("00000000\n") and ran.stdout.endswith("00019999\n")
    assert f"artifact:{artifact.hash}" in ran.stdout
    assert await a.read(f"artifact:{artifact.hash}", 10_001, 10_002) == "00010000\n00010001\n"


async def test_a_long_output_says_where_all_of_it_can_be_read(tool_lab):
    a, _ = tool_lab.agent("a")
    ran = await a.run(python("import sys; print('x\\n' * 5_000); print('short', file=sys.stderr)"))
    assert list(ran.stored) == ["stdout"]
    assert await a.read(ran.stored["stdout"]) == ran.stdout
    assert (await a.run("echo short")).stored == {}


async def test_bytes_that_are_no_text_are_shown_replaced_and_kept(tool_lab):
    a, gate = tool_lab.agent("a")
    ran = await a.run(python("import os; os.write(1, b'caf\\xe9\\n')"))
    (output,) = gate.of(ProcOutput)
    assert ran.stdout == output.data == "caf\ufffd\n" and tool_lab.plane.blobs[output.raw] == b"caf\xe9\n"


async def test_a_character_is_not_torn_between_two_pieces(tool_lab):
    a, gate = tool_lab.agent("a")
    await a.run(python("print('x' + '\u20ac' * 10_000)"))
    assert "".join(o.data for o in gate.of(ProcOutput)) == "x" + "\u20ac" * 10_000 + "\n"
    assert all(o.raw is None for o in gate.of(ProcOutput))


async def test_a_flood_of_output_is_held_on_disk_not_in_memory(tool_lab):
    a, gate = tool_lab.agent("a")
    size = 40 * 1024 * 1024
    ran = await a.run(python(f"import sys\nfor _ in range({size} // 65536): sys.stdout.write('x' * 65536)"))
    parts = [b for b in gate.of(Artifact) if b.kind == "output"]
    assert sum(part.size for part in parts) == size and max(part.size for part in parts) <= 16 * 1024 * 1024
    assert len(gate.of(ProcOutput)) < 1000 and "bytes more" in gate.of(ProcOutput)[-1].data
    assert len(ran.stdout) < 32_000 and "left out" in ran.stdout


# --- nothing survives --------------------------------------------------------------------------------------

DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.close(0)
open("pid", "w").write(str(os.getpid()))
time.sleep(1000)
"""


async def test_what_a_command_leaves_behind_is_ended_with_it(tool_lab):
    a, gate = tool_lab.agent("a")
    code = f"import subprocess, sys, time, os\nsubprocess.Popen([sys.executable, '-c', {DAEMON!r}])\nwhile not (os.path.exists('pid') and open('pid').read()): time.sleep(0.01)"
    ran = await a.run(python(code), writes=["pid"])
    pid = int((tool_lab.root / "pid").read_text())
    assert ran.code == 0 and not processes.tree(pid)
    assert gate.of(ProcExit)[0].killed >= 1 and processes.marked(gate.owner) == []


async def test_a_timeout_ends_the_whole_tree(tool_lab):
    a, gate = tool_lab.agent("a")
    ran = await a.run(["bash", "-c", "sleep 1000 & sleep 1000; wait"], timeout=0.3)
    assert ran.timed_out and processes.marked(gate.owner) == []
    assert [e.status for e in gate.entries if isinstance(e.body, (ProcExit, ToolResult))] == ["timeout", "timeout"]


async def test_cancelling_ends_the_tree_and_undoes_what_it_wrote(tool_lab):
    (tool_lab.root / "n.txt").write_text("before")
    a, gate = tool_lab.agent("a")
    running = asyncio.ensure_future(a.run(["bash", "-c", "echo x > n.txt; sleep 1000"]))
    await until(lambda: (tool_lab.root / "n.txt").read_text() == "x\n")
    assert a.children()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert processes.marked(gate.owner) == [] and a.children() == [] and gate.grants() == ()
    assert (tool_lab.root / "n.txt").read_text() == "before"
    assert [e.status for e in gate.entries if isinstance(e.body, (ProcExit, ToolResult))] == ["cancelled", "cancelled"]


async def test_closing_the_host_ends_what_runs(tool_lab):
    a, gate = tool_lab.agent("a")
    running = asyncio.ensure_future(a.run(["sleep", "1000"]))
    await until(a.children)
    await a.close()
    await running
    assert processes.marked(gate.owner) == []


# --- grants ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "units"),
    [
        (["pytest", "-q"], ("proc:test",)),
        (["/usr/bin/pytest"], ("proc:test",)),
        (["python3.11", "-m", "pytest", "x"], ("proc:test",)),
        (["npm", "test"], ("proc:test",)),
        (["make", "test"], ("proc:test",)),
        (["make", "-j4"], ("proc:build",)),
        (["git", "commit"], ("proc:git",)),
        (["alembic", "upgrade", "head"], ("proc:migrate",)),
        (["kubectl", "apply", "-f", "x"], ("proc:deploy",)),
        (["bash", "-lc", "cd x && A=1 pytest -q; git status"], ("proc:test", "proc:git")),
        (["ls"], ()),
        (["pytestish-not"], ("proc:test",)),
        (["echo", "pytest"], ()),
    ],
)
def test_a_command_belongs_to_the_unit_of_its_pattern(argv, units):
    assert policy.Policy().units(argv) == units


@pytest.mark.parametrize(
    ("given", "units"),
    [
        ({"argv": ["git", "push"]}, ("proc:push",)),
        ({"argv": "git push origin", "writes": ["out/"]}, ("file:out", "proc:push")),
        ({"command": "cd x && git push; pytest"}, ("proc:push", "proc:test")),
        ({"argv": ["git", "push"], "unit": "proc:mine"}, ("proc:mine",)),
        ({"argv": ["ls"]}, ()),
    ],
)
async def test_who_is_asked_about_a_command_sees_the_units_that_it_takes_by_its_pattern(tool_lab, given, units):
    (tool_lab.root / "agentlab.toml").write_text('[processes]\npush = ["git push*"]\n')
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="ask", tool="run"),))
    await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="ann"))
    with pytest.raises(errors.Refused, match="denied by ann"):
        await a.call("run", given)
    assert [request.units for request in tool_lab.plane.asked] == [units]


async def test_a_rule_about_a_process_unit_is_about_the_commands_of_its_pattern(tool_lab):
    a, _ = tool_lab.agent("a", home_rules=(Rule(action="reject", unit="proc:deploy"),))
    await tool_lab.plane.answer(Verdict(allowed=False, answer="denied", by="policy"))
    with pytest.raises(errors.Refused, match="denied by policy"):
        await a.run(["make", "deploy"])
    assert (await a.run(["true"])).code == 0


@pytest.mark.parametrize(
    ("input", "units"),
    [
        ({"command": "cd x && A=1 timeout 5 git push"}, ("proc:git",)),
        ({"command": "/bin/bash -lc 'pytest -q; git status'"}, ("proc:test", "proc:git")),
        ({"argv": ["/usr/bin/git", "log"]}, ("proc:git",)),
        ({"command": "ls"}, ()),
        ({"path": "git push"}, ()),
        (None, ()),
    ],
)
def test_a_command_of_a_vendors_own_tool_belongs_to_the_units_of_its_patterns(input, units):
    assert policy.Policy().units_of(input) == units


async def test_patterns_and_ignores_come_from_the_workspace(tool_lab):
    (tool_lab.root / "agentlab.toml").write_text(
        '[processes]\nlint = ["ruff *"]\ntest = ["check*"]\n[workspace]\nignore = ["dist"]\n'
    )
    a, _ = tool_lab.agent("a")
    rules = policy.load(a.workspace)
    assert rules.units(["ruff", "check"]) == ("proc:lint",) and rules.units(["pytest"]) == ()
    ran = await a.run(["bash", "-c", "mkdir dist; echo x > dist/f"])
    assert not ran.violations and (tool_lab.root / "dist/f").exists()
    (tool_lab.root / "agentlab.toml").write_text("[procesess]\n")
    with pytest.raises(errors.BadRequest, match=r"agentlab\.toml"):
        tool_lab.agent("b")


async def test_two_agents_never_test_at_once(tool_lab):
    (a, _), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    await b.claim("proc:test")
    waiting = asyncio.ensure_future(a.run(["bash", "-c", "pytest --version; true"]))
    await asyncio.sleep(0.05)
    assert not waiting.done() and not a.children()
    await b.release()
    assert (await waiting).code == 0


async def test_a_command_of_no_class_shares_and_one_with_writes_takes_them_all_or_none(tool_lab):
    (a, _), (b, b_gate), (c, _) = tool_lab.agent("a"), tool_lab.agent("b"), tool_lab.agent("c")
    taken: list[tuple[str, str]] = []
    claim = b_gate.claim

    async def watched(units, mode="X", **options):
        taken.append((units, mode))
        return await claim(units, mode, **options)

    b_gate.claim = watched  # type: ignore[method-assign]
    first = asyncio.ensure_future(a.run(["sleep", "0.3"]))
    await until(a.children)
    await b.run(["true"])
    assert not first.done()
    await b.run(["git", "--version"], writes=["out/", "log.txt"])
    assert taken == [(("proc:run",), "S"), (("proc:git", "dir:out", "file:log.txt"), "X")]
    await c.claim("file:log.txt")
    d, _ = tool_lab.agent("d", hold=0.05)
    with pytest.raises(errors.NotHeld, match="1st"):
        await d.run(["true"], writes=["log.txt"])
    await first


async def test_a_bulkhead_limits_the_children_of_an_agent(tool_lab):
    a, _ = tool_lab.agent("a", children=2)
    runs = [asyncio.ensure_future(a.run(["sleep", "0.3"])) for _ in range(4)]
    most = 0
    while not all(run.done() for run in runs):
        most = max(most, len(a.children()))
        await asyncio.sleep(0.01)
    assert most == 2


# --- what processes write ----------------------------------------------------------------------------------


async def test_what_a_command_declared_is_recorded_and_becomes_the_agents_base(tool_lab):
    (tool_lab.root / "n.txt").write_text("1\n")
    (tool_lab.root / "gone.txt").write_text("x")
    a, gate = tool_lab.agent("a")
    ran = await a.run(
        ["bash", "-c", "echo 2 > n.txt; mkdir -p out; echo new > out/f; rm gone.txt"],
        writes=["n.txt", "out/", "gone.txt"],
    )
    assert ran.wrote == ("gone.txt", "n.txt", "out/f") and ran.violations == ""
    changed, created = gate.of(FileWrite)
    assert (changed.path, changed.before, changed.after, changed.via) == (
        "n.txt",
        hash_of("1\n"),
        hash_of("2\n"),
        "scan",
    )
    assert (created.path, created.before, created.after) == ("out/f", None, hash_of("new\n"))
    assert b"-1\n+2\n" in tool_lab.plane.blobs[changed.diff]
    assert {changed.before, changed.after, created.after} <= tool_lab.plane.blobs.keys()
    (deleted,) = gate.of(FileDelete)
    assert (deleted.path, deleted.before, deleted.via) == ("gone.txt", hash_of("x"), "scan")
    assert gate.of(ProcExit)[0].wrote == ran.wrote and not gate.of(Guard)
    await a.write("n.txt", "3\n")  # no read needed: the agent knows what its command wrote


async def test_what_nobody_claimed_is_undone_and_the_agent_is_told(tool_lab):
    (tool_lab.root / "sub").mkdir()
    (tool_lab.root / "n.txt").write_text("before\n")
    (tool_lab.root / "n.txt").chmod(0o640)
    (tool_lab.root / "gone.txt").write_text("here\n")
    (tool_lab.root / "link").symlink_to("n.txt")
    a, gate = tool_lab.agent("a")
    script = "echo after > n.txt; chmod 777 n.txt; rm gone.txt link; mkdir -p new/dir; echo x > new/dir/f; mkfifo pipe; ln -s /etc evil"
    ran = await a.run(["bash", "-c", script])
    assert (tool_lab.root / "n.txt").read_text() == "before\n" and (tool_lab.root / "gone.txt").read_text() == "here\n"
    assert (tool_lab.root / "n.txt").stat().st_mode & 0o777 == 0o640
    assert os.readlink(tool_lab.root / "link") == "n.txt"
    assert sorted(os.listdir(tool_lab.root)) == ["gone.txt", "link", "n.txt", "sub"]
    assert "writes=['evil', 'gone.txt', 'link', 'n.txt', 'new/dir/f', 'pipe']" in ran.violations and ran.wrote == ()
    (guard,) = gate.of(Guard)
    assert guard.rule == "unclaimed-write" and "n.txt" in guard.paths
    assert [e.status for e in gate.entries if isinstance(e.body, Guard)] == ["rolled_back"]
    undone = {b.path: b for b in gate.of(FileWrite)}
    assert undone["n.txt"].via == "rollback" and undone["n.txt"].before == hash_of("after\n")
    assert undone["n.txt"].after == hash_of("before\n") and undone["gone.txt"].before is None
    assert {b.path for b in gate.of(FileDelete)} == {"new/dir/f", "evil"}
    assert tool_lab.plane.blobs[hash_of("after\n")] == b"after\n"  # not even that is lost
    assert gate.grants() == ()


async def test_a_touch_or_the_same_content_is_no_change(tool_lab):
    (tool_lab.root / "n.txt").write_text("same\n")
    a, gate = tool_lab.agent("a")
    ran = await a.run(["bash", "-c", "touch n.txt; echo same > n.txt; mkdir __pycache__; echo x > __pycache__/f"])
    assert ran.wrote == () and not ran.violations and not gate.of(FileWrite)


async def test_a_change_of_equal_length_in_the_same_instant_is_seen(tool_lab):
    a, _ = tool_lab.agent("a")
    await a.write("n.txt", "1")
    stat = (tool_lab.root / "n.txt").stat()
    code = f"import os; open('n.txt', 'r+').write('2'); os.utime('n.txt', ns=({stat.st_mtime_ns}, {stat.st_mtime_ns}))"
    ran = await a.run(python(code))
    assert "n.txt" in ran.violations and (tool_lab.root / "n.txt").read_text() == "1"


async def test_what_others_wrote_meanwhile_under_their_grants_is_left_alone(tool_lab):
    (tool_lab.root / "mine.txt").write_text("1")
    (a, a_gate), (b, _) = tool_lab.agent("a"), tool_lab.agent("b")
    running = asyncio.ensure_future(a.run(["bash", "-c", "while [ ! -e stop ]; do sleep 0.01; done"]))
    await until(a.children)
    await b.write("b.txt", "work of b\n")
    await b.claim("dir:held")
    (tool_lab.root / "held").mkdir()
    (tool_lab.root / "held/x").write_text("by a process of b")
    await b.write("stop", "")
    ran = await running
    assert ran.violations == "" and not a_gate.of(Guard)
    assert (tool_lab.root / "b.txt").read_text() == "work of b\n" and (tool_lab.root / "held/x").exists()


async def test_our_own_writes_during_a_run_are_no_violations(tool_lab):
    (tool_lab.root / "old.txt").write_text("1")
    a, gate = tool_lab.agent("a")
    running = asyncio.ensure_future(a.run(["bash", "-c", "while [ ! -e stop ]; do sleep 0.01; done"]))
    await until(a.children)
    await a.write("n.txt", "mine")
    await a.delete("old.txt")
    await a.write("stop", "")
    ran = await running
    assert ran.violations == "" and ran.wrote == () and (tool_lab.root / "n.txt").read_text() == "mine"
    assert [w.via for w in gate.of(FileWrite)] == ["tool", "tool"]


async def test_a_file_over_the_budget_cannot_be_put_back_and_that_is_said(tool_lab, monkeypatch):
    (tool_lab.root / "big.bin").write_bytes(b"x" * 1000)
    a, gate = tool_lab.agent("a")
    a._watch._shadow.max_bytes = 100
    ran = await a.run(["bash", "-c", "echo y >> big.bin"])
    assert "could not be put back: big.bin" in ran.violations
    assert [e.status for e in gate.entries if isinstance(e.body, Guard)] == ["warned"]
    (left,) = gate.of(FileWrite)
    assert left.before == "" and left.after == sha256(b"x" * 1000 + b"y\n").hexdigest() and left.via == "scan"


async def test_private_copies_are_private_and_go_with_the_host(tool_lab):
    (tool_lab.root / "n.txt").write_text("1")
    a, _ = tool_lab.agent("a")
    await a.run(["true"])
    (copy,) = tool_lab.home.glob("private/*/shadow/*")
    assert copy.stat().st_mode & 0o077 == 0 and copy.parent.stat().st_mode & 0o077 == 0
    await a.close()
    assert not copy.parent.exists()
