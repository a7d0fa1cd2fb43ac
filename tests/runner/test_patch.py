from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.errors import PatchFailed
from agentlab.runner.tools import patch

LINES = [f"line {n}\n" for n in range(1, 41)]
TEXT = "".join(LINES)
texts = st.lists(st.text(alphabet="ab \r\x0c\x85-+@\\", max_size=4), max_size=12).map("\n".join)


@given(texts, texts)
def test_a_diff_applied_to_what_it_was_made_from_gives_what_it_was_made_for(a, b):
    diff = patch.make(a, b, "f")
    assert (diff.text == "") == (a == b)
    if a != b:
        assert patch.apply(a, diff.text) == b


def test_a_diff_counts_its_lines_and_names_missing_files():
    diff = patch.make(TEXT, TEXT.replace("line 5\n", "five\n").replace("line 30\n", ""), "src/f")
    assert (diff.added, diff.removed) == (1, 2)
    assert diff.text.startswith("--- a/src/f\n+++ b/src/f\n@@ -2,7 +2,7 @@\n line 2\n")
    assert patch.make(None, "x\n", "f").text == "--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+x\n"
    assert patch.make("x", None, "f").text.endswith("-x\n\\ No newline at end of file\n")


def test_a_very_large_change_is_still_a_diff():
    a, b = "".join(f"a{n % 7}\n" for n in range(9000)), "".join(f"b{n % 5}\n" for n in range(9000))
    assert (
        patch.apply(f"head\n{a}tail\n", patch.make(f"head\n{a}tail\n", f"head\n{b}tail\n", "f").text)
        == f"head\n{b}tail\n"
    )


def test_a_hunk_may_sit_elsewhere_where_its_place_is_unique():
    diff = patch.make(TEXT, TEXT.replace("line 20\n", "twenty\n").replace("line 35\n", "x\n"), "f").text
    moved = "new 1\nnew 2\n" + TEXT
    assert patch.apply(moved, diff) == moved.replace("line 20\n", "twenty\n").replace("line 35\n", "x\n")


def test_a_hunk_whose_place_is_not_unique_is_refused():
    with pytest.raises(PatchFailed, match=r"several places \(lines 2, 4\)"):
        patch.apply("x\na\nx\na\nx\n", "@@ -9 +9 @@\n-a\n+b\n")


def test_context_must_match_to_the_letter():
    with pytest.raises(PatchFailed, match=r"(?s)Hunk 1 does not match.*-line  5.*from line 5 of 40:\n line 5\n"):
        patch.apply(TEXT, "@@ -5 +5 @@\n-line  5\n+five\n", "f")


def test_all_hunks_apply_or_none():
    with pytest.raises(PatchFailed, match="Hunk 2"):
        patch.apply(TEXT, "@@ -1 +1 @@\n-line 1\n+one\n@@ -2 +2 @@\n-line two\n+2\n")


@pytest.mark.parametrize(
    ("diff", "says"),
    [
        ("", "no hunk"),
        ("just text", "no hunk"),
        ("@@ nonsense @@\n-a\n", "no line numbers"),
        ("@@ -1,2 +1 @@\n-line 1\n+one\n", "1 old and 1 new lines, but its header says 2 and 1"),
        ("@@ -1 +1 @@\n-line 1\n+one\n+more\n", "more lines than its header says"),
        ("--- a\n+++ a\n@@ -1 +1 @@\n-line 1\n+one\n--- b\n+++ b\n@@ -1 +1 @@\n-x\n+y\n", "several files"),
        ("@@ -1 +1 @@\n-line 1\n+one\n\\ No newline at end of file\n", "join two lines"),
    ],
)
def test_a_malformed_diff_says_what_is_wrong(diff, says):
    with pytest.raises(PatchFailed, match=says):
        patch.apply(TEXT, diff)


def test_a_git_header_and_stripped_empty_context_lines_are_fine():
    diff = "diff --git a/f b/f\nindex 1..2 100644\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@ def f():\n a\n\n-b\n+c\n"
    assert patch.apply("a\n\nb\n", diff) == "a\n\nc\n"


def test_line_ends_are_told_where_they_are_the_trouble():
    with pytest.raises(PatchFailed, match="CRLF"):
        patch.apply("a\r\nb\r\n", "@@ -1 +1 @@\n-a\n+x\n")
    with pytest.raises(PatchFailed, match="no newline"):
        patch.apply("a", "@@ -1 +1 @@\n-a\n+x\n")
    assert patch.apply("a", "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+x\n") == "x\n"
