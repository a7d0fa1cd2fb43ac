"""Live views: a widget while something goes on, plain HTML once it is over, so that a saved notebook says how it ended.

What the background thread has to say reaches the front end by traits and `update_display` alone: it never prints.
"""

from __future__ import annotations

import contextvars
import threading
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import publish_display_data

from agentlab.client import html
from agentlab.client.fleet import Subject
from agentlab.client.handle import AgentHandle, static_bundle
from agentlab.client.questions import open_of
from agentlab.client.rows import Row, Tables, is_live
from agentlab.faces.values import Stream

if TYPE_CHECKING:
    from .widget import AgentWidget

KEPT = 1000  # lines of a followed log that stay on the screen


class Display:
    """One output of a cell, which can be replaced from any thread."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex

    def show(self, data: dict[str, Any]) -> None:
        publish_display_data(data, transient={"display_id": self._id})

    def update(self, data: dict[str, Any]) -> None:
        """Under the cell that runs now, whatever cell the calling task was begun in: headless front ends look at no other."""
        contextvars.Context().run(publish_display_data, data, transient={"display_id": self._id}, update=True)


class LiveViews:
    """The views of agents that have not ended, by agent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._views: dict[str, list[AgentView]] = {}

    def show(self, handle: AgentHandle) -> bool:
        row = handle.row()
        if not is_live(row):
            return False
        view = AgentView(handle, row)
        with self._lock:
            self._views.setdefault(handle.key, []).append(view)
        view.follow(lambda last: self.ended(handle.key, last))
        return True

    def show_fleet(self, subject: Subject) -> bool:
        from .fleet import FleetView, has_widget

        if not has_widget():
            return False
        shown = subject._bundle()
        if subject._fleet(subject._lab._tables()).over:
            return False
        FleetView(subject, shown).follow()
        return True

    def ended(self, key: str, row: Row) -> None:
        with self._lock:
            views = self._views.pop(key, [])
        for view in views:
            view.finish(row)


class AgentView:
    def __init__(self, handle: AgentHandle, row: Row) -> None:
        from .widget import AgentWidget  # ipywidgets is slow to import, and most kernels that connect show nothing live

        self._handle = handle
        self._display = Display()
        asked = handle.questions if row["status"] == "blocked" else []
        self._widget: AgentWidget = AgentWidget(handle, row, asked)
        self._seen: tuple[Row | None, list[Row]] = (row, asked)
        self._unwatch: Callable[[], None] = lambda: None
        self._display.show({**static_bundle(row, asked), **self._widget.mimes()})

    def follow(self, ended: Callable[[Row], None]) -> None:
        key = self._handle.key

        def changed(tables: Tables) -> None:
            row, asked = tables.get("agents", {}).get(key), open_of(tables, key)
            if (row, asked) == self._seen:
                return
            self._seen = (row, asked)
            if row is not None and is_live(row):
                self._widget.take(row, asked)
            elif row is not None:
                ended(row)

        self._unwatch = self._handle._lab._feed.watch(changed)

    def finish(self, row: Row) -> None:
        self._unwatch()
        self._display.update(static_bundle(row))
        self._widget.close()


class LiveLines:
    """A log as it grows. The cell is done at once; the lines come until the agent ends, or `close()`."""

    def __init__(self, stream: Stream) -> None:
        self.agent = stream.agent
        self._display = Display()
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._source = stream.lines()
        self._display.show(self._bundle())
        self._thread = threading.Thread(target=self._run, name="agentlab-logs", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for line in self._source:
                self._lines.append(line)
                self._display.update(self._bundle())
        except Exception as error:  # said where the lines are: nobody waits for this thread
            self._lines.append(f"[the log ended: {error}]")
            self._display.update(self._bundle())

    def close(self) -> None:
        self._source.close()  # type: ignore[attr-defined]

    def _bundle(self) -> dict[str, str]:
        text = "\n".join(self._lines)
        return {"text/plain": text, "text/html": html.lines(text)}

    def __repr__(self) -> str:
        return f"<LiveLines of {self.agent}>"

    def _ipython_display_(self) -> None:
        """It is on the screen already."""
