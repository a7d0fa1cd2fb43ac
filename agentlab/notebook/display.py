"""Live views: a widget while something goes on, plain HTML once it is over, so that a saved notebook says how it ended.

What the background thread has to say reaches the front end by traits and `update_display` alone: it never prints.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import publish_display_data

from agentlab.client import fleet, html
from agentlab.client.fleet import Subject
from agentlab.client.handle import AgentHandle, static_bundle
from agentlab.client.questions import open_of
from agentlab.client.rows import Row, Tables, is_live
from agentlab.errors import AgentlabError
from agentlab.faces.values import Stream

if TYPE_CHECKING:
    from .widget import AgentWidget

KEPT = 1000  # lines of a followed log that stay on the screen
RENEW = 10.0  # s between two pictures of something that goes on, in the output of its cell
BEAT = 1.0  # s between two looks at the clock while agents live: who waits does so without a change of any row
SHARE = 5.0  # what takes long is done at most a fifth of the time


class Display:
    """One output of a cell, which can be replaced from any thread."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex

    def show(self, data: dict[str, Any]) -> None:
        publish_display_data(data, transient={"display_id": self._id})

    def update(self, data: dict[str, Any]) -> None:
        """Under the cell that runs now, whatever cell the calling task was begun in: headless front ends look at no other."""
        contextvars.Context().run(publish_display_data, data, transient={"display_id": self._id}, update=True)


class Still:
    """What a notebook keeps of a live output that is saved in the middle: a picture that is never much older than `RENEW`.

    A front end renders the output again with each of them, so there are few. Drawn on a thread of its own, while cells run too:
    it is then that notebooks are saved. `draw`: what the output says by itself, None where there is nothing new. `live`: what
    makes it live.
    """

    def __init__(self, display: Display, draw: Callable[[], dict[str, Any] | None], live: dict[str, Any]) -> None:
        self._display, self._draw, self._live = display, draw, live
        self._lock = threading.Lock()
        self._over = False
        self._dirty = False
        self._task: asyncio.Task[None] | None = None

    def changed(self) -> None:
        """On the background thread: what is kept is old."""
        self._dirty = True
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="agentlab-still")

    async def _run(self) -> None:
        took = 0.0
        while self._dirty and not self._over:
            await asyncio.sleep(max(RENEW, took * SHARE))
            self._dirty = False
            begun = time.monotonic()
            await asyncio.to_thread(self.renew)
            took = time.monotonic() - begun

    def renew(self) -> None:
        """Put the picture of now into the output, which stays live. On any thread but the background's."""
        try:
            drawn = self._draw()
        except (AgentlabError, OSError):
            return  # what is there says of when it is
        with self._lock:
            if drawn is not None and not self._over:
                self._display.update({**drawn, **self._live})

    def end(self, last: dict[str, Any]) -> None:
        """The last picture, and nothing live beside it."""
        with self._lock:
            self._over = True
            self._display.update(last)


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
        self._lost: float | None = None
        self._beats: asyncio.Task[None] | None = None
        self._display.show({**(self._drawn() or {}), **self._widget.mimes()})
        self._still = Still(self._display, self._drawn, self._widget.mimes())

    def follow(self, ended: Callable[[Row], None]) -> None:
        key = self._handle.key

        def changed(tables: Tables, lost: float | None) -> None:
            self._lost = lost
            self._widget.believe(lost)
            if self._beats is None:
                self._beats = asyncio.get_running_loop().create_task(self._beat(), name="agentlab-clock")
            if lost is not None:
                return
            row, asked = tables.get("agents", {}).get(key), open_of(tables, key)
            if (row, asked) == self._seen:
                return
            self._seen = (row, asked)
            if row is not None and is_live(row):
                self._widget.take(row, asked)
                self._still.changed()
            elif row is not None:
                ended(row)

        self._unwatch = self._handle._lab._feed.watch(changed)

    async def _beat(self) -> None:
        """Its age goes on without a change of its row, as long as that is what is so."""
        while not self._handle._lab.closed:
            row, _ = self._seen
            if self._lost is None and row is not None:
                self._widget.tick(row)
            await asyncio.sleep(BEAT)

    def _drawn(self) -> dict[str, Any] | None:
        row, asked = self._seen
        return None if row is None else static_bundle(row, asked, note=fleet.as_of(time.time()))

    def finish(self, row: Row) -> None:
        self._unwatch()
        if self._beats is not None:
            self._beats.cancel()
        self._still.end(static_bundle(row))
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
