from __future__ import annotations

from html.parser import HTMLParser

import pytest

from agentlab.client import html, named, rows
from agentlab.client.text import iso, line, span, visible

ROW = {
    "agent": "r1/a", "run_id": "r1", "agent_id": "a", "name": "a", "kind": "script", "status": "running", "waits": None,
    "doing": "write file:a.txt", "queued_at": 1, "started": 1, "ended": 2_000_000_001,
}  # fmt: skip
WAITS = {
    "units": ["file:a.txt"], "position": 2, "ticket": 7,
    "behind": [{"owner": "r1/b", "unit": "file:a.txt", "waits": False}, {"owner": "r1/c", "unit": "file:a.txt", "waits": True}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07x", "x"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x08b\x00", "a\\x08b\\x00"),
        ("a\rb", "a\\x0db"),
        ("a\r\nb\tc\n", "a\nb\tc\n"),
        ("abc\u202egnp.exe", "abc\\u202egnp.exe"),
        ("\u2066x\u2069\u200b", "\\u2066x\\u2069\\u200b"),
        ("\x9b31mx", "\\x9b31mx"),
        ("\udcff", "\\udcff"),
        ("zażółć 漢字 👩‍💻", "zażółć 漢字 👩‍💻"),
    ],
)
def test_nothing_in_a_text_is_obeyed_by_a_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_is_one_line_and_not_too_long() -> None:
    assert line("a\n  b\n") == "a b"
    assert line("x" * 500, 10) == "x" * 9 + "…"


def test_times_keep_their_nanoseconds() -> None:
    assert iso(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
    assert iso(None) is None
    assert [span(s) for s in (0.44, 12.3, 185, 7_800)] == ["0.4 s", "12 s", "3 min 05 s", "2 h 10 min"]


def test_a_waiting_agent_says_for_what_behind_whom_and_at_which_place() -> None:
    row = {**ROW, "status": "waiting", "waits": WAITS}
    assert rows.waits_text(row) == "waits for file:a.txt · held by b · after c · 2nd"
    assert rows.one_line(row) == "a (script) ⧗ waiting · waits for file:a.txt · held by b · after c · 2nd · 2.0 s"


def test_an_agent_that_asks_says_what_it_asks_rather_than_what_it_does() -> None:
    row = {**ROW, "status": "blocked", "doing": "run git push", "reason": "asks: May it run git push?"}
    assert rows.detail(row) == "asks: May it run git push?"
    assert rows.detail({**row, "status": "running"}) == "run git push"
    assert rows.detail({**row, "reason": ""}) == "run git push"


@pytest.mark.parametrize(
    ("boundary", "sandbox", "said"),
    [
        ("tools", "", ""),
        ("tools", "bubblewrap", ""),
        ("tools", "landlock", "landlock"),
        ("tools", "none", "no sandbox"),
        ("native", "bubblewrap", "native (weaker)"),
        ("native", "none", "native (weaker) · no sandbox"),
    ],
)
def test_an_agent_says_where_it_is_held_by_less(boundary: str, sandbox: str, said: str) -> None:
    row = {**ROW, "boundary": boundary, "sandbox": sandbox}
    assert rows.bounds_text(row) == said
    assert rows.one_line(row) == " · ".join(filter(None, ["a (script) ▶ running", "write file:a.txt", said, "2.0 s"]))
    assert said in html.agent(row)


def test_a_failed_agent_says_why_and_a_running_one_what_it_does() -> None:
    assert rows.detail({**ROW, "status": "failed", "error": "it\nbroke"}) == "it broke"
    assert rows.detail(ROW) == "write file:a.txt"


def test_an_agent_is_found_by_name_by_run_name_and_by_run_id_the_live_one_first() -> None:
    old = {**ROW, "status": "done", "agent": "r1/a", "queued_at": 5}
    new = {**ROW, "status": "running", "agent": "r2/a", "run_id": "r2", "queued_at": 3}
    newest = {**ROW, "status": "done", "agent": "r2/a#2", "agent_id": "a#2", "run_id": "r2", "queued_at": 9}
    tables = {
        "agents": {r["agent"]: r for r in (old, newest, new)},
        "runs": {"r1": {"name": "one"}, "r2": {"name": "two"}},
    }

    def found(name: str) -> list[str]:
        return [row["agent"] for row in named.agents(tables, name)]

    assert found("a") == ["r2/a", "r2/a#2", "r1/a"]
    assert found("one/a") == ["r1/a"] == found("r1/a")
    assert found("r2/a#2") == ["r2/a#2"]
    assert found("b") == found("three/a") == []


EVIL = "<script>alert(1)</script>\"'&\u202e\x1b[31m"


class _Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    "made",
    [
        html.agent({**ROW, "name": EVIL, "kind": EVIL, "doing": EVIL, "status": "running"}),
        html.agent({**ROW, "status": "failed", "error": EVIL}),
        html.agent({**ROW, "status": "done", "output": {"x": EVIL}}),
        html.agent({**ROW, "status": "waiting", "waits": {**WAITS, "units": [EVIL], "behind": [{"owner": EVIL}]}}),
        html.table(EVIL, [EVIL], [[EVIL]], EVIL),
        html.lines(EVIL),
    ],
)
def test_html_has_no_markup_of_agents_no_script_no_link_and_inline_style_only(made: str) -> None:
    found = _Tags(made)
    allowed = {"div", "span", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre"}
    assert {tag for tag, _ in found.tags} <= allowed
    assert {name for _, attrs in found.tags for name in attrs} <= {"style", "role", "aria-label", "scope"}
    assert "alert(1)" in found.text or "alert(1)" in str(found.tags)
    assert "\u202e" not in made and "\x1b" not in made
