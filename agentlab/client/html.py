"""Static HTML of rows: no script, no link, inline style only, every text escaped. It is what a saved notebook keeps."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape

from . import questions
from .rows import Row, age_text, bounds_text, detail, icon, usage_text
from .text import line, visible

_BOX = (
    "display:inline-flex;flex-wrap:wrap;gap:0 .8em;align-items:baseline;padding:.3em .7em;border:1px solid "
    "var(--jp-border-color2,#bbb);border-radius:4px;font-size:var(--jp-ui-font-size1,13px);max-width:100%"
)
_FAINT = "color:var(--jp-ui-font-color2,#666)"
_CELL = "text-align:left;padding:.15em .7em;vertical-align:top;white-space:pre-wrap"
_PRE = "max-height:24em;overflow:auto;margin:0;white-space:pre-wrap"


def agent(row: Row, asked: Sequence[Row] = (), note: str = "") -> str:
    """One agent on one line, below it what it asks. Its state is a word and a sign, never a colour alone."""
    parts = [
        f"<strong>{text(row['name'], 60)}</strong>",
        f'<span style="{_FAINT}">{text(row["kind"], 30)}</span>',
        f"<span>{escape(icon(row))} {text(row['status'])}</span>",
    ]
    if what := detail(row):
        parts.append(f"<span>{text(what)}</span>")
    faint = (bounds_text(row), usage_text(row), age_text(row), note)
    parts += [f'<span style="{_FAINT}">{text(more)}</span>' for more in faint if more]
    parts += [question(one) for one in asked]
    return f'<div role="group" aria-label="agent {text(row["name"], 60)}" style="{_BOX}">{"".join(parts)}</div>'


def question(row: Row) -> str:
    """What is asked, the call that is to be allowed, and the commands that answer it."""
    call = questions.call_text(row)
    return (
        f'<div style="flex-basis:100%"><strong>asks:</strong> {text(row["question"], 400)} '
        f'<span style="{_FAINT}">{text(questions.about(row), 600)}</span>'
        + (f'<pre style="{_PRE}">{escape(call)}</pre>' if call else "")
        + f"<div>Answer with <code>{text(questions.how_to_answer(row), 400)}</code></div></div>"
    )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A real table with a caption; `note` stands below it."""
    head = "".join(f'<th scope="col" style="{_CELL}">{text(c)}</th>' for c in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{text("" if v is None else v)}</td>' for v in row) + "</tr>"
        for row in rows
    )
    caption = f'<caption style="text-align:left;font-weight:bold">{text(title)}</caption>'
    foot = f'<div style="{_FAINT}">{text(note, 400)}</div>' if note else ""
    return f'<table style="border-collapse:collapse">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{foot}'


def image(svg: str, alt: str) -> str:
    """A picture that needs nothing else: as an image, so that nothing in it can act, and sanitizers let it pass."""
    data = b64encode(svg.encode()).decode()
    return f'<img alt="{text(alt, 400)}" style="max-width:100%;height:auto" src="data:image/svg+xml;base64,{data}">'


def lines(content: str) -> str:
    return f'<pre style="{_PRE}">{escape(visible(content))}</pre>'


def text(value: object, limit: int = 200) -> str:
    return escape(line(value, limit))
