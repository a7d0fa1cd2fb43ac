"""Replacing text to the letter, and what is said where it cannot be done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import BadRequest, PatchFailed
from agentlab.runner.tools.replace import replaced


@given(st.text("ab\n", max_size=30), st.text("ab\n", min_size=1, max_size=4), st.text("abc\n", max_size=4))
def test_a_replacement_happens_exactly_where_the_text_is_there_once(text: str, old: str, new: str) -> None:
    if old == new:
        return
    if text.count(old) == 1:
        before, _, after = text.partition(old)
        assert replaced(text, old, new, all=False, name="a") == before + new + after
    else:
        with pytest.raises(PatchFailed):
            replaced(text, old, new, all=False, name="a")


def test_lines_of_a_text_with_crlf_are_meant_with_it_and_mixed_ends_are_left_as_they_are() -> None:
    text = "one\r\ntwo\r\nthree\r\n"
    assert replaced(text, "one\ntwo", "1\n2", all=False, name="a") == "1\r\n2\r\nthree\r\n"
    assert replaced(text, "two", "2\n2", all=False, name="a") == "one\r\n2\r\n2\r\nthree\r\n"
    assert replaced(text, "one\r\n", "", all=False, name="a") == "two\r\nthree\r\n"
    assert replaced("a\r\nb\nc", "b\nc", "x\ny", all=False, name="a") == "a\r\nx\ny"
    with pytest.raises(PatchFailed):
        replaced("a\r\nb\nc", "a\nb", "x", all=False, name="a")


def test_a_text_that_is_there_several_times_is_refused_with_its_lines() -> None:
    with pytest.raises(PatchFailed, match=r"3 times in a\.py, at lines 1, 3, 4\."):
        replaced("x = 1\ny\nx = 1\nx = 1\n", "x = 1", "x = 2", all=False, name="a.py")
    assert replaced("x\nx\n", "x", "y", all=True, name="a.py") == "y\ny\n"


def test_no_more_than_ten_lines_are_named() -> None:
    with pytest.raises(PatchFailed, match="lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more"):
        replaced("x\n" * 30, "x", "y", all=False, name="a")


def test_other_white_space_is_told_with_the_lines_as_they_are() -> None:
    with pytest.raises(PatchFailed) as failed:
        replaced("def f():\n\treturn  1\n", "    return 1", "    return 2", all=False, name="a.py")
    assert "white space only" in str(failed.value) and "2\t\treturn  1" in str(failed.value)


def test_the_closest_lines_are_shown() -> None:
    with pytest.raises(PatchFailed) as failed:
        replaced("import os\ndef total(items):\n    pass\n", "def totals(items):", "x", all=False, name="a.py")
    assert str(failed.value).endswith("closest lines are these; give them to the letter:\n2\tdef total(items):")


def test_what_is_like_nothing_shows_nothing() -> None:
    with pytest.raises(PatchFailed, match=r"Read it again and give it to the letter\.$"):
        replaced("import os\n", "zzzzzz", "x", all=False, name="a.py")


@pytest.mark.parametrize(("old", "new"), [("", "x"), ("x", "x")])
def test_a_replacement_that_makes_no_sense_is_refused(old: str, new: str) -> None:
    with pytest.raises(BadRequest):
        replaced("x", old, new, all=False, name="a")
