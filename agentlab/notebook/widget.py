"""The live view of one agent. It can ask for a stop and answer what the agent asks; every text in it is set as text, never as
markup."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from agentlab.client import background, questions
from agentlab.client.handle import AgentHandle
from agentlab.client.rows import Row, age_text, bounds_text, detail, icon, usage_text
from agentlab.client.text import line, visible
from agentlab.errors import AgentlabError

VIEW = "application/vnd.jupyter.widget-view+json"


class AgentWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Traits are set from the background thread. A click comes back on whichever thread the kernel chooses, perhaps only
    after the running cell: so it does nothing but hand the request over. `%agent stop`, `%agent approve` always work."""

    _esm = Path(__file__).with_name("widget.js")

    state = traitlets.Dict().tag(sync=True)

    problem = traitlets.Unicode("").tag(sync=True)

    clock = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    """What goes on without a change of its row: now (ms since the epoch), and how long it has been going."""

    lost = traitlets.Float(0.0).tag(sync=True)
    """ms since the epoch: nothing is heard of it since; 0: all is as it is shown."""

    def __init__(self, handle: AgentHandle, row: Row, asked: Sequence[Row] = ()) -> None:
        super().__init__(state=shown(row, asked))
        self._handle = handle
        self.on_msg(self._asked)

    def take(self, row: Row, asked: Sequence[Row] = ()) -> None:
        if (state := shown(row, asked)) != self.state:
            self.state = state

    def tick(self, row: Row) -> None:
        self.clock = {"now": time.time() * 1000, "age": age_text(row)}

    def believe(self, lost: float | None) -> None:
        """lost: s since the epoch, as the feed says it."""
        self.lost = (lost or 0.0) * 1000

    def mimes(self) -> dict[str, Any]:
        """The part of a mime bundle that makes it live."""
        return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}

    def _asked(self, _widget: object, content: Any, _buffers: object) -> None:
        if not isinstance(content, dict):
            return
        if content.get("do") in ("stop", "stop now"):
            background.submit(self._handle._stop(content["do"] == "stop now"))
        elif content.get("do") == "answer" and (click := clicked(content, self.state.get("question"))) is not None:
            background.submit(self._answer(*click))

    async def _answer(self, approval: str, status: str, scope: str, answer: str) -> None:
        try:
            await self._handle._answer(approval, status, scope, answer)
            self.problem = ""
        except AgentlabError as error:  # somebody was first, or it ended: said where it was clicked
            self.problem = line(error, 400)


def clicked(content: dict[str, Any], question: dict[str, Any] | None) -> tuple[str, str, str, str] | None:
    """(approval, status, scope, answer) of a click. None: nothing of the question that is shown."""
    if question is None or content.get("approval") != question["approval"]:
        return None
    for button in question["buttons"]:
        if all(content.get(key) == button[key] for key in ("status", "scope", "answer")):
            return question["approval"], button["status"], button["scope"], button["answer"]
    return None


def shown(row: Row, asked: Sequence[Row] = ()) -> dict[str, Any]:
    """What the view shows of a row and of the first thing that it asks: safe, short texts."""
    return {
        "name": line(row["name"], 60),
        "kind": line(row["kind"], 30),
        "icon": icon(row),
        "status": row["status"],
        "what": detail(row),
        "bounds": bounds_text(row),
        "usage": usage_text(row),
        "time": age_text(row),
        "stopping": row["status"] == "stopping",
        "question": question_shown(asked[0], len(asked) - 1) if asked else None,
    }


def question_shown(row: Row, more: int = 0) -> dict[str, Any]:
    return {
        "approval": row["approval"],
        "question": line(row["question"], 400),
        "about": questions.about(row),
        "call": questions.call_text(row),
        "buttons": buttons(row),
        "note": f"or {questions.how_to_answer(row)}" + (f"; {more} more after this" if more else ""),
    }


def buttons(row: Row) -> list[dict[str, str]]:
    """What can be said with a click. A question without options wants words: %agent answer."""
    no = _button("Deny", "denied")
    if row["kind"] == "question":
        return [*(_button(line(o, 60), "answered", answer=o) for o in row.get("options") or () if o == visible(o)), no]
    made = [_button("Allow once", "approved")]
    if questions.can_be_remembered(row):
        made += [
            _button("Allow for this session", "approved", "session"),
            _button("Always allow", "approved", "always"),
        ]
    return [*made, no]


def _button(label: str, status: str, scope: str = "once", answer: str = "") -> dict[str, str]:
    return {"label": label, "status": status, "scope": scope, "answer": answer}
