"""The live view of one agent. Its only power is to ask for a stop; every text in it is set as text, never as markup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from agentlab.client import background
from agentlab.client.handle import AgentHandle
from agentlab.client.rows import Row, age_text, detail, icon, usage_text
from agentlab.client.text import line

VIEW = "application/vnd.jupyter.widget-view+json"


class AgentWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Traits are set from the background thread. A click comes back on whichever thread the kernel chooses, perhaps only
    after the running cell: so it does nothing but hand the request over. `%agent stop` is the way that always works."""

    _esm = Path(__file__).with_name("widget.js")

    state = traitlets.Dict().tag(sync=True)

    def __init__(self, handle: AgentHandle, row: Row) -> None:
        super().__init__(state=shown(row))
        self._handle = handle
        self.on_msg(self._asked)

    def take(self, row: Row) -> None:
        if (state := shown(row)) != self.state:
            self.state = state

    def mimes(self) -> dict[str, Any]:
        """The part of a mime bundle that makes it live."""
        return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}

    def _asked(self, _widget: object, content: Any, _buffers: object) -> None:
        if isinstance(content, dict) and content.get("do") in ("stop", "stop now"):
            background.submit(self._handle._stop(content["do"] == "stop now"))


def shown(row: Row) -> dict[str, Any]:
    """What the view shows of a row: safe, short texts."""
    return {
        "name": line(row["name"], 60),
        "kind": line(row["kind"], 30),
        "icon": icon(row),
        "status": row["status"],
        "what": detail(row),
        "usage": usage_text(row),
        "time": age_text(row),
        "stopping": row["status"] == "stopping",
    }
