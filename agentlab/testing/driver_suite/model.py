"""What a vendor's model hears of our tools, and what of its talk is kept."""

from __future__ import annotations

from agentlab.core.events import ModelExchange
from agentlab.runner.tools.page import LINES

from .bench import DriverBench, do, named
from .case import VendorCase


class Model(VendorCase):
    async def test_the_model_reads_numbered_lines(self, bench: DriverBench) -> None:
        (bench.root / "long.txt").write_text("".join(f"word {number}\n" for number in range(1, 3_001)))
        driver = await bench.started()
        await driver.prompt(do({"read": "long.txt"}, {"say": "read"}))
        assert f"{LINES}\tword {LINES}" in bench.said(1).replace("\\t", "\t")
        assert f"[lines 1-{LINES} of 3000; read on with start={LINES + 1}]" in bench.said(1)

    async def test_what_it_and_its_model_say_to_each_other_is_recorded_and_no_key(self, bench: DriverBench) -> None:
        driver = await bench.started()
        await driver.prompt(do({"write": ["a.txt", "hello"]}, {"say": "finished"}))
        await driver.close()
        await bench.models.close()
        found = [(entry, entry.body) for entry in bench.gate.entries if isinstance(entry.body, ModelExchange)]
        asked = [(entry, body) for entry, body in found if b"@do" in await bench.kept(body.request)]
        assert len(asked) >= len(bench.model.turns) >= 2, "some also ask for a title"
        assert {(entry.status, body.code) for entry, body in asked} == {("ok", 200)}
        assert all(entry.name and entry.dur_ns and body.first_ns for entry, body in asked)
        last = await bench.kept(asked[-1][1].response)
        assert b"finished" in last and len(last) == asked[-1][1].response_size
        for _, body in found:
            said = (body.path.encode(), await bench.kept(body.request), await bench.kept(body.response))
            assert not any(b"dummy-key" in text for text in said)

    async def test_an_argument_in_a_vendors_words_reaches_our_tools(self, bench: DriverBench) -> None:
        (bench.root / "n.txt").write_text("one\ntwo\nthree\n")
        driver = await bench.started()
        await driver.prompt(do({"tool": "read", "args": {"path": "n.txt", "offset": 2, "limit": 1}}, {"say": "read"}))
        assert "[lines 2-2 of 3]" in bench.said(1)

    async def test_a_command_in_the_background_is_looked_at_later_and_ends_with_the_agent(
        self, bench: DriverBench
    ) -> None:
        driver = await bench.started()
        begin = {"tool": "run", "args": {"command": "echo ready; setsid sleep 1009 & sleep 1009", "background": True}}
        look = {"tool": "output", "args": {"id": "p1", "since": 0, "wait": 1}}
        turn = await driver.prompt(do(begin, look, {"say": "on with it"}))
        assert (turn.status, turn.output) == ("done", "on with it"), turn
        assert "p1 runs in the background" in bench.said(1)
        assert "ready" in bench.said(2)
        assert named(bench.left(), "1009")
        await driver.close()
        await bench.tools.close()
        assert bench.left() == []

    async def test_a_megabyte_in_one_message_arrives_whole(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"write": ["big.txt", "x" * 900_000]}, {"say": "large"}))
        assert (turn.status, turn.output) == ("done", "large")
        assert (bench.root / "big.txt").stat().st_size == 900_000

    async def test_ten_megabytes_read_in_one_call_do_no_harm(self, bench: DriverBench) -> None:
        (bench.root / "big.txt").write_text("x" * 10_000_000)
        driver = await bench.started()
        turn = await driver.prompt(do({"read": "big.txt"}, {"say": "read"}))
        assert (turn.status, turn.output) == ("done", "read")

    async def test_a_prompt_may_begin_with_a_dash(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt("--help -p " + do({"write": ["a.txt", "x"]}, {"say": "ok"}))
        assert (turn.status, turn.output) == ("done", "ok")

    async def test_a_refused_key_says_how_to_log_in(self, bench: DriverBench) -> None:
        driver = await bench.started()
        turn = await driver.prompt(do({"error": 401, "say": "invalid api key"}))
        assert (turn.status, turn.reason) == ("failed", "auth")
        assert self.login in turn.error
