"""A tool's answer becomes a short text for the model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentlab.runner.drivers.answers import as_text
from agentlab.runner.tools import Change, Kept, Ran


@pytest.mark.parametrize(
    ("tool", "answer", "text"),
    [
        ("release", None, "ok"),
        ("read", "line\n", "line\n"),
        ("read", "", "(empty)"),
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
