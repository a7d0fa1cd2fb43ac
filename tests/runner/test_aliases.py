"""Calls in the words of vendors' own tools."""

from __future__ import annotations

from typing import Any

import pytest

from agentlab import errors
from agentlab.runner.tools import aliases, catalogue


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("Read", {"file_path": "a"}, ("read", {"path": "a"})),
        ("read_file", {"absolute_path": "a", "offset": 3, "limit": 2}, ("read", {"path": "a", "start": 3, "end": 4})),
        ("read", {"path": "a", "limit": 2}, ("read", {"path": "a", "start": 1, "end": 2})),
        ("Write", {"file_path": "a", "content": "x"}, ("write", {"path": "a", "data": "x"})),
        (
            "Edit",
            {"file_path": "a", "old_string": "x", "new_string": "y", "replace_all": True},
            ("edit", {"path": "a", "old": "x", "new": "y", "all": True}),
        ),
        (
            "MultiEdit",
            {"file_path": "a", "edits": [{"old_string": "x", "new_string": "y", "replace_all": True}]},
            ("multi_edit", {"path": "a", "edits": [{"old": "x", "new": "y", "all": True}]}),
        ),
        ("Glob", {"pattern": "*.py"}, ("glob", {"pattern": "*.py"})),
        (
            "Grep",
            {"pattern": "x", "output_mode": "files_with_matches", "-i": True, "-C": 2, "head_limit": 9},
            ("search", {"regex": "x", "mode": "files", "ignore_case": True, "context": 2, "limit": 9}),
        ),
        ("Grep", {"pattern": "x+", "glob": "*.py"}, ("search", {"regex": "x+", "glob": "*.py"})),
    ],
)
def test_a_call_as_models_learned_it_is_one_of_ours(name: str, args: Any, expected: Any) -> None:
    assert aliases.ours(name, args) == expected
    catalogue.check(*expected)


def test_our_own_calls_stay_as_they_are() -> None:
    for name in catalogue.TOOLS:
        args = dict.fromkeys(catalogue.TOOLS[name].__struct_fields__, 1)
        assert aliases.ours(name, args) == (name, args)


def test_every_alias_leads_to_an_argument_that_there_is() -> None:
    assert set(aliases.NAMES.values()) <= set(catalogue.TOOLS)
    for name, table in aliases.ARGUMENTS.items():
        assert set(table.values()) <= set(catalogue.TOOLS[name].__struct_fields__)


@pytest.mark.parametrize("args", [{"path": "a", "file_path": "b"}, {"file_path": "b", "path": "a"}])
def test_two_spellings_of_one_argument_are_refused_not_guessed(args: Any) -> None:
    with pytest.raises(errors.BadRequest, match="no option 'file_path'"):
        catalogue.check(*aliases.ours("read", args))


async def test_an_edit_in_other_words_changes_the_file(tool_lab: Any) -> None:
    (tool_lab.root / "n.txt").write_text("one\ntwo\n")
    a, _ = tool_lab.agent("a")
    await a.call("Edit", {"file_path": "n.txt", "old_string": "two", "new_string": "2"})
    assert (tool_lab.root / "n.txt").read_text() == "one\n2\n"
