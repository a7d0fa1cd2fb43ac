"""A tool's answer becomes a short text for the model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentlab.runner.drivers.answers import SHOWN, as_text, facts
from agentlab.runner.tools import Change, Kept, Ran
from agentlab.runner.tools.page import Page


@pytest.mark.parametrize(
    ("tool", "answer", "text"),
    [
        ("release", None, "ok"),
        ("ask", "blue\n", "blue\n"),
        ("ask", "", "(empty)"),
        (
            "read",
            Page(path="a", start=9, end=10, total=12, truncated=True, text="x\ny\n"),
            "     9\tx\n    10\ty\n[lines 9-10 of 12; read on with start=11]",
        ),
        ("Read", Page(path="a", start=1, end=1, total=1, truncated=False, text="x"), "     1\tx"),
        ("list", ["a.py", "src/"], "a.py\nsrc/"),
        ("search", [], "(nothing found)"),
        ("write", Change(path="a", before=None, after="h", added=2, diff="+x"), "created a: +2 -0 lines"),
        ("edit", Change(path="a", before="g", after="h", added=2, removed=1, diff="+x"), "changed a: +2 -1 lines"),
        ("write", Change(path="a", before="h", after="h"), "a is unchanged: it had this content already"),
        ("delete", Change(path="a", before="h", after=None), "deleted a"),
        ("move", Change(path="a", before="h", after="h", to="b"), "a is now b"),
        ("run", Ran(code=0), "exit code 0"),
        ("run", Ran(code=None, signal=9, timed_out=True), "ended by signal 9, timed out"),
        ("artifact", Kept(name="r", hash="h", size=1), '{"name":"r","hash":"h","size":1}'),
    ],
)
def test_an_answer_says_what_became_of_it(tool: str, answer: Any, text: str) -> None:
    assert as_text(tool, msgspec.to_builtins(answer)) == text


def test_a_command_shows_its_output_what_it_wrote_and_what_was_undone() -> None:
    ran = Ran(code=1, stdout="out\n", stderr="err\n", wrote=("a", "b"), violations="c was not declared.")
    text = as_text("run", msgspec.to_builtins(ran))
    assert text == ("exit code 1\n--- stdout\nout\n--- stderr\nerr\n--- wrote\na, b\n--- undone\nc was not declared.")


def test_a_claim_says_what_was_granted() -> None:
    granted = {"ticket": 7, "token": 9, "units": ["file:a", "dir:b"], "mode": "X", "ttl": 60.0}
    assert as_text("claim", granted) == "granted: file:a, dir:b (ticket 7). Release when done."


def test_a_refused_write_of_a_command_comes_with_what_to_do() -> None:
    text = as_text("run", msgspec.to_builtins(Ran(code=1, hint="Declare it.")))
    assert text == "exit code 1\n--- hint\nDeclare it."


def test_a_list_is_cut_to_what_a_model_can_take_and_says_how_much_was_left_off() -> None:
    lines = [f"folder/file-{number:05}.py" for number in range(5_000)]
    text = as_text("list", [*lines, "[... 77 more; give a narrower path or pattern]"])
    shown = text.split("\n")
    assert len(text) < SHOWN + 200
    assert shown[-1] == "[... 77 more; give a narrower path or pattern]"
    assert shown[-2] == f"[... {5_001 - len(shown) + 2} more lines; narrow it down by a path or a pattern]"
    assert as_text("list", lines[:100]) == "\n".join(lines[:100])


def test_facts_are_what_is_no_long_text() -> None:
    assert facts({"code": 0, "stdout": "x" * 9, "stderr": "", "wrote": ["a"]}) == {"code": 0, "wrote": ["a"]}
    assert facts(["a"]) is None
    assert facts("a") is None


def test_many_lines_of_a_command_are_cut_in_the_middle_and_lead_to_where_all_of_them_are() -> None:
    ran = Ran(code=0, stdout="x\n" * 9_000 + "last", stderr="short", stored={"stdout": "artifact:h"})
    lines = as_text("run", msgspec.to_builtins(ran)).split("\n")
    (note,) = (line for line in lines if "left out" in line)
    assert note == "[... 7111 lines left out; page through it with read('artifact:h', start=..., end=...) ...]"
    assert len(lines) < 1_995
    assert lines[-3:] == ["last", "--- stderr", "short"]
    both = as_text("run", msgspec.to_builtins(Ran(code=0, stdout="x\n" * 9_000, stderr="y\n" * 9_000))).split("\n")
    assert len(both) < 1_995
    assert abs(both.count("x") - both.count("y")) < 2


def test_whatever_is_answered_is_no_more_than_a_page_and_keeps_its_beginning_and_its_end() -> None:
    many = as_text("ask", "first\n" + "line\n" * 9_000 + "the end")
    assert len(many.split("\n")) <= 2_000
    assert many.startswith("first\nline\n")
    assert "lines left out" in many
    assert many.endswith("line\nthe end")
    short = as_text("list", ["a"] * 5_000)
    assert len(short.split("\n")) <= 2_000
    assert "more lines; narrow it down" in short.split("\n")[-1]
    wide = as_text("run", {"code": 0, "stdout": "é" * 30_000, "stderr": "é" * 30_000 + "!"})
    assert len(wide.encode()) <= 50 * 1024
    assert "bytes left out" in wide
    assert wide.endswith("!")
