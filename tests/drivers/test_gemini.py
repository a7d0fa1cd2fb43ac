"""The real Gemini CLI, its model scripted on loopback, with a home of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asking import YES, Answering, Asking, ByHttp, InSandbox

from agentlab.core.events import JSON, Message, ToolCall
from agentlab.core.policy import Act, matches, parse
from agentlab.runner.gate import Verdict
from agentlab.testing.driver_suite import DriverBench, DriverSuite, Step, VendorCase, VendorSuite, do

pytestmark = [pytest.mark.agents, pytest.mark.timeout(180)]


class Gemini(VendorCase):
    kind = "gemini"
    model = "gemini-2.5-flash"
    login = "GEMINI_API_KEY"
    own: ClassVar[tuple[dict[str, Any], ...]] = (
        {"tool": "write_file", "args": {"file_path": "{root}/sneaky.txt", "content": "x"}},
        {"tool": "run_shell_command", "args": {"command": "touch {root}/sneaky", "description": "x"}},
        {"tool": "replace", "args": {"file_path": "{root}/sneaky.txt", "old_string": "", "new_string": "x"}},
    )

    def env(self, bench: DriverBench) -> dict[str, str]:
        return {"GEMINI_API_KEY": "dummy-key", "GOOGLE_GEMINI_BASE_URL": bench.model.url}


@contextmanager
def saying(*answers: list[dict[str, Any]]) -> Iterator[str]:
    """The URL of a model that gives one of these answers after the other: the parts of each, as they are."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            parts = left.pop(0) if body.get("tools") and left else [{"text": "{}"}]
            said = {"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}]}
            streamed = "alt=sse" in self.path
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if streamed else "application/json")
            self.end_headers()
            self.wfile.write(f"data: {json.dumps(said)}\n\n".encode() if streamed else json.dumps(said).encode())

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def called(tool: str, id: str | None = None, **args: JSON) -> dict[str, Any]:
    return {"functionCall": {"name": tool, "args": args, **({"id": id} if id else {})}}


class TestAsking(Answering, Gemini):
    """What it asks for with its own tools, which it tells by a title alone."""

    boundary = "native"

    async def took(self, bench: DriverBench, *parts: dict[str, Any], verdicts: int) -> list[Act]:
        """What was asked of a person, as rules see it, when the model made these calls in one answer."""
        with saying([*parts], [{"text": "done"}]) as url:
            driver = await bench.started(env={**bench.env, "GOOGLE_GEMINI_BASE_URL": url})
            await self.answered(bench, *[YES] * verdicts)
            turn = await driver.prompt("Please do this.")
            assert (turn.status, turn.output, turn.error) == ("done", "done", "")
        return [Act(agent="a", tool=asked.tool, units=asked.units, input=asked.input) for asked in bench.plane.asked]

    @pytest.mark.parametrize("ids", [True, False])
    async def test_each_of_several_calls_in_one_answer_is_asked_for_with_its_own_arguments(
        self, bench: DriverBench, ids: bool
    ) -> None:
        root, long = str(bench.root), "echo one >> said\necho '" + "x" * 500 + "' >> said"
        wanted: list[tuple[str, dict[str, JSON]]] = [
            ("write_file", {"file_path": f"{root}/a.txt", "content": "a"}),
            ("run_shell_command", {"command": long, "dir_path": root, "description": "Says\nsomething"}),
            ("run_shell_command", {"command": "echo two >> said", "dir_path": root}),
            ("run_shell_command", {"command": "echo two >> said", "dir_path": root}),
        ]
        parts = [called(tool, f"c{n}" if ids else None, **args) for n, (tool, args) in enumerate(wanted)]
        acts = await self.took(bench, *parts, verdicts=4)
        assert [act.input for act in acts] == [args for _, args in wanted]
        calls = bench.gate.of(ToolCall)
        assert [call.args for call in calls] == [args for _, args in wanted]
        assert len({call.call for call in calls}) == 4
        assert (bench.root / "said").read_text() == f"one\n{'x' * 500}\ntwo\ntwo\n"

    async def test_a_rule_for_commands_is_one_for_its_commands(self, bench: DriverBench) -> None:
        """All of a command, however many lines it has, and nothing that only looks like it."""
        root, rule = str(bench.root), parse("approve tool=execute command='touch *' unit='dir:*'")
        commands = ["touch a", "touch b\nrm -f a", "touch c # and no more", "echo 'touch d' > e"]
        acts = await self.took(
            bench, *[called("run_shell_command", command=said, dir_path=root) for said in commands], verdicts=4
        )
        assert [matches(rule, act) for act in acts] == [True, False, True, False]
        denial = parse("reject tool=run command='rm *'")
        assert [matches(denial, act) for act in acts] == [False, True, False, False]

    async def test_calls_that_cannot_be_told_apart_are_asked_for_as_without_a_record(self, bench: DriverBench) -> None:
        (bench.root / "sub").mkdir()
        two = [called("run_shell_command", command="touch here", dir_path=f"{bench.root}{sub}") for sub in ("", "/sub")]
        acts = await self.took(bench, *two, verdicts=2)
        assert [act.input for act in acts] == [None, None]
        assert [asked.question for asked in bench.plane.asked] == ["touch here"] * 2
        assert not any(matches(parse("approve tool=execute command='touch *'"), act) for act in acts)
        assert (bench.root / "here").exists() and (bench.root / "sub" / "here").exists()

    async def test_without_a_record_of_its_model_a_person_is_asked_by_the_title(self, bench: DriverBench) -> None:
        bench.recorded = False
        acts = await self.took(
            bench, called("run_shell_command", command="touch here", dir_path=str(bench.root)), verdicts=1
        )
        assert ([act.input for act in acts], bench.plane.asked[0].question) == ([None], "touch here")

    @pytest.mark.parametrize("record", [True, False])
    async def test_a_command_in_the_background_is_refused_and_the_model_told_why(
        self, bench: DriverBench, record: bool
    ) -> None:
        bench.recorded = record
        command = {"command": f"touch {bench.root}/sneaky", "description": "look", "is_background": True}
        driver = await bench.started()
        turn = await driver.prompt(do({"tool": "run_shell_command", "args": command, "exact": True}, {"say": "tried"}))
        assert (turn.status, list(bench.root.iterdir()), bench.plane.asked) == ("done", [], [])
        assert "would outlive the locks" in bench.said(-1)

    async def test_what_is_denied_is_not_done_and_says_its_arguments(self, bench: DriverBench) -> None:
        command = {"command": f"touch {bench.root}/sneaky", "description": "look"}
        driver = await bench.started()
        await self.answered(bench, Verdict(allowed=False, answer="denied", by="ann", reason="not now"))
        turn = await driver.prompt(do({"tool": "run_shell_command", "args": command, "exact": True}, {"say": "tried"}))
        assert (turn.status, list(bench.root.iterdir())) == ("done", [])
        assert bench.plane.asked[0].input == command
        assert "not now" in bench.said(-1)

    async def test_a_page_that_it_fetches_is_one_call_with_its_arguments(self, bench: DriverBench) -> None:
        """It refuses addresses of this machine by itself, when it was allowed to go there."""
        acts = await self.took(bench, called("web_fetch", prompt="Sum up http://127.0.0.1:1/x"), verdicts=1)
        assert [act.input for act in acts] == [{"prompt": "Sum up http://127.0.0.1:1/x"}]
        assert [call.args for call in bench.gate.of(ToolCall)] == [{"prompt": "Sum up http://127.0.0.1:1/x"}]


class TestNativeGemini(InSandbox, Gemini, DriverSuite):
    """Gemini with its own tools beside ours."""

    def changes(self, root: Path, path: str, text: str) -> Step:
        return {"tool": "write_file", "args": {"file_path": str(root / path), "content": text}, "exact": True}


class TestGemini(Asking, ByHttp, Gemini, VendorSuite):
    async def test_a_session_is_gone_on_in_again_and_again_and_its_past_is_not_told_as_news(
        self, bench: DriverBench
    ) -> None:
        """However long it is, and however soon: Gemini tells it behind its answer, and names its files by the minute."""
        driver = await bench.started()
        turn = await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "remember the number 4711"}))
        for number in range(2):
            await driver.close()
            (file,) = [path for path in bench.private.glob("chats/*/*.jsonl") if "4711" in path.read_text()]
            past = {"timestamp": "2026-01-01T00:00:00.000Z", "type": "gemini", "thoughts": [], "model": "m"}
            with file.open("a") as session:
                for n in range(1000):
                    session.write(
                        json.dumps({**past, "id": f"old-{number}-{n}", "content": f"old {n} {'x' * 1000}"}) + "\n"
                    )
            before = len(bench.gate.entries)
            driver = await bench.started(resume=turn.vendor_session)
            turn = await driver.prompt(do({"write": [f"b{number}.txt", "x"]}, {"say": f"say {number}"}))
            assert self.says(turn, f"say {number}")
            told = [entry.body for entry in bench.gate.entries[before:]]
            assert [body.text for body in told if isinstance(body, Message)] == ["scripted: step 1", f"say {number}"]
            assert len([body for body in told if isinstance(body, ToolCall)]) == 1
        asked = json.dumps(bench.model.turns[-1].body)
        assert all(said in asked for said in ("4711", "say 0", "old 999", "a.txt", "b0.txt"))

    @pytest.mark.parametrize("command", ["ls", "git status && echo hi"])
    async def test_a_command_that_it_takes_for_harmless_is_asked_for_too(
        self, bench: DriverBench, command: str
    ) -> None:
        await self.acted(bench, {"tool": "run_shell_command", "args": {"command": command, "description": "look"}})

    async def test_ten_megabytes_read_in_one_call_do_no_harm(self, bench: DriverBench) -> None:
        """Gemini counts before it asks its model: what does not fit ends the turn, and says so."""
        (bench.root / "big.txt").write_text("x" * 10_000_000)
        driver = await bench.started()
        turn = await driver.prompt(do({"read": "big.txt"}, {"say": "read"}))
        assert (turn.status, turn.reason, turn.output) in {("done", "", "read"), ("failed", "context_overflow", None)}
        assert driver.processes()

    async def test_its_own_id_of_a_call_is_kept(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"write": ["a.txt", "1"]}, {"say": "ok"}))
        assert [call.call.startswith("mcp_lab_write__call") for call in bench.gate.of(ToolCall)] == [True]

    async def test_settings_of_the_workspace_change_nothing_and_its_memory_is_read(self, bench: DriverBench) -> None:
        (bench.root / ".gemini").mkdir()
        hostile = {
            "tools": {
                "core": ["run_shell_command", "write_file"],
                "discoveryCommand": f"touch {bench.root}/discovered",
            },
            "mcpServers": {
                "lab": {"command": "touch", "args": [f"{bench.root}/replaced"]},
                "other": {"command": "touch", "args": [f"{bench.root}/started"]},
            },
            "hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": f"touch {bench.root}/hooked"}]}]},
        }
        (bench.root / ".gemini" / "settings.json").write_text(json.dumps(hostile))
        (bench.root / "GEMINI.md").write_text("The number is 4711.")
        driver = await bench.started()
        turn = await driver.prompt(do({"write": ["a.txt", "1"]}, *self.own[:2], {"say": "ok"}))
        assert turn.status == "done"
        assert sorted(path.name for path in bench.root.iterdir()) == [".gemini", "GEMINI.md", "a.txt"]
        asked = json.dumps(bench.model.turns[-1].body)
        assert "The number is 4711." in asked
        assert "You work in a workspace that other agents change" in asked
