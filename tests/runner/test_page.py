"""Files as a model reads them: numbered lines, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab import errors
from agentlab.core.events import FileRead, ToolResult
from agentlab.runner.drivers.answers import as_text
from agentlab.runner.tools.page import BYTES, LINES, WIDTH, Page, numbered, page_of


def torn(data: bytes, size: int) -> Iterator[bytes]:
    """The content in pieces of this size."""
    return (data[at : at + size] for at in range(0, len(data), size))


def page(text: str, start: int | None = None, end: int | None = None) -> Page:
    return page_of([text.encode()], "a.txt", start, end)[0]


def test_lines_are_numbered_and_all_of_a_short_file_needs_no_note() -> None:
    assert numbered(page("one\ntwo\n")) == "     1\tone\n     2\ttwo"
    assert numbered(page("one\n\nthree")) == "     1\tone\n     2\t\n     3\tthree"


def test_a_range_says_of_how_many_lines_it_is() -> None:
    assert numbered(page("a\nb\nc\nd\n", 2, 3)) == "     2\tb\n     3\tc\n[lines 2-3 of 4]"
    assert page("a\nb\nc\nd\n", 2, 9) == Page(path="a.txt", start=2, end=4, total=4, truncated=False, text="b\nc\nd\n")


@pytest.mark.parametrize(
    ("text", "start", "says"), [("", None, "[a.txt is empty]"), ("a\nb", 5, "[there is no line 5: a.txt has 2 lines]")]
)
def test_nothing_to_show_is_said(text: str, start: int | None, says: str) -> None:
    assert numbered(page(text, start)) == says


def test_how_lines_end_is_said_where_it_cannot_be_seen() -> None:
    assert numbered(page("a\r\nb\r\n")) == "     1\ta\n     2\tb\n[lines end with CRLF]"
    assert page("a\r\n").text == "a\r\n"


def test_a_range_that_ends_before_it_begins_has_nothing_in_it() -> None:
    assert numbered(page("a\nb\nc\n", 2, 1)) == "[no lines: the end is before the start; a.txt has 3 lines]"


def test_a_long_file_ends_with_how_to_read_on_and_so_all_of_it_can_be_read() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 5_001))
    first = page(text)
    assert (first.start, first.end, first.total, first.truncated) == (1, LINES, 5_000, True)
    assert numbered(first).endswith(f"\n[lines 1-{LINES} of 5000; read on with start={LINES + 1}]")
    read, at = "", 1
    while at <= 5_000:
        part = page(text, at)
        read, at = read + part.text, part.end + 1
    assert read == text


def test_a_page_is_bounded_in_bytes_and_its_lines_in_width() -> None:
    wide = page("é" * 1_000 + "\n" + ("x" * 1_000 + "\n") * 100)
    assert wide.truncated
    assert len(wide.text.encode()) <= BYTES
    assert wide.text.startswith("é" * 1_000 + "\nx")
    long = page("é" * 10_000_000 + "\nnext\n")
    first, second = long.text.splitlines()
    assert first.startswith("é" * WIDTH + " [... ")
    assert len(first) < WIDTH + 50
    assert second == "next"


@given(
    st.lists(st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), max_size=20), max_size=30),
    st.integers(1, 12), st.integers(1, 35), st.one_of(st.none(), st.integers(0, 35)),
)  # fmt: skip
def test_how_the_content_is_torn_makes_no_difference(lines: list[str], size: int, start: int, end: int | None) -> None:
    text = "\n".join(lines)
    found, hash = page_of(torn(text.encode(), size), "a.txt", start, end)
    *whole, rest = text.split("\n")
    expected = [f"{line}\n" for line in whole] + ([rest] if rest else [])
    assert hash == sha256(text.encode()).hexdigest()
    assert found.total == len(expected)
    assert found.text == "".join(expected[start - 1 : end])
    assert not found.truncated


@pytest.mark.parametrize(
    ("data", "says"), [(b"\x7fELF\0\0", "is binary.*read_bytes"), (b"ok\n\xff\xfe\n", "Line 2 .*no UTF-8.*iconv")]
)
def test_what_is_no_text_says_what_to_use(data: bytes, says: str) -> None:
    with pytest.raises(errors.BadRequest, match=says):
        page_of([data], "a.bin")


async def test_a_model_gets_numbers_and_a_program_gets_the_text(tool_lab: Any) -> None:
    (tool_lab.root / "n.txt").write_text("one\ntwo\n")
    a, gate = tool_lab.agent("a")
    assert await a.call("read", {"path": "n.txt"}) == "one\ntwo\n"
    shown = await a.call("Read", {"file_path": "n.txt", "offset": 2}, paged=True)
    assert shown == {"path": "n.txt", "start": 2, "end": 2, "total": 2, "truncated": False, "text": "two\n"}
    assert as_text("Read", shown) == "     2\ttwo\n[lines 2-2 of 2]"
    assert [result.output for result in gate.of(ToolResult)] == ["one\ntwo\n", "two\n"]
    assert [read.hash for read in gate.of(FileRead)] == [sha256(b"one\ntwo\n").hexdigest()] * 2


async def test_what_a_page_was_read_of_is_a_base_to_write_from(tool_lab: Any) -> None:
    (tool_lab.root / "n.txt").write_text("one\n" * 3_000)
    a, _ = tool_lab.agent("a")
    await a.call("read", {"path": "n.txt"}, paged=True)
    await a.write("n.txt", "two\n")
    (tool_lab.root / "n.txt").write_text("changed by an editor\n")
    await a.call("read", {"path": "n.txt"}, paged=True)
    (tool_lab.root / "n.txt").write_text("and again\n")
    with pytest.raises(errors.StaleBase, match=r"-changed by an editor\n\+and again"):
        await a.write("n.txt", "three\n")


async def test_a_stored_output_is_paged_too(tool_lab: Any) -> None:
    a, _ = tool_lab.agent("a")
    kept = await a.artifact("report", "x\n" * 3_000)
    shown = await a.call("read", {"path": f"artifact:{kept.hash}", "start": 2_999}, paged=True)
    assert (shown["start"], shown["end"], shown["total"]) == (2_999, 3_000, 3_000)


async def test_what_cannot_be_read_says_what_to_do(tool_lab: Any) -> None:
    (tool_lab.root / "src").mkdir()
    (tool_lab.root / "src/settings.py").write_text("x")
    (tool_lab.root / "big.bin").write_bytes(b"\0" * 100_000)
    a, _ = tool_lab.agent("a")
    with pytest.raises(errors.BadRequest, match=r"is a directory, not a file\. Use list"):
        await a.call("read", {"path": "src"}, paged=True)
    with pytest.raises(errors.NotFound, match=r"Did you mean 'src/settings\.py'"):
        await a.call("read", {"path": "src/setings.py"}, paged=True)
    with pytest.raises(errors.BadRequest, match=r"read_bytes\('big.bin', start=10, end=24586\)"):
        await a.call("read_bytes", {"path": "big.bin", "start": 10}, paged=True)
    assert len(await a.call("read_bytes", {"path": "big.bin", "end": 9}, paged=True)) == 12
