"""The live view of a run or a lab: its agents, buttons that ask for a stop, and for a run its timeline.

Rows come with the feed; the timeline is read from the log, no more often than reading it is quick. What a saved notebook keeps is
plain HTML: of now and then, with its moment, while it goes on; of the last state once it is over, and whenever no agent is left
that lives.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from agentlab.client import background, fleet
from agentlab.client.fleet import Fleet, Subject
from agentlab.client.rows import Row, Tables, age_text, is_live
from agentlab.client.text import line
from agentlab.errors import AgentlabError

from .display import BEAT, SHARE, Display, Still
from .widget import VIEW

_log = logging.getLogger("agentlab.notebook")

BUNDLE = Path(__file__).parent / "static" / "fleet.js"
"""Built from labextension/ when agentlab is installed. Without it runs and labs are shown as plain HTML."""

NOT_BUILT = (
    "Runs and labs are shown as plain HTML, not live: %s was not built when agentlab was installed. "
    "In a checkout: make labextension. A released wheel has it."
)
NOTE = (
    "The buttons are answered when the kernel is free; %agent stop NAME in a cell, or agentlab stop NAME in a shell, does the same "
    "whenever you like."
)
PAUSE = 0.25  # s between two pictures of the rows
KEYS = ("name", "kind", "status", "what", "holds", "usage", "time")


def has_widget() -> bool:
    """Whether runs and labs can be live here. The first no is explained, in the log, which a notebook shows under the cell."""
    if BUNDLE.is_file():
        return True
    explain(BUNDLE)
    return False


@functools.cache
def explain(bundle: Path) -> None:
    _log.warning(NOT_BUILT, bundle)


class FleetWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """Traits are set from the background thread; what a click asks for is handed to it: see `AgentWidget`."""

    # Read when one is made: a file named here would have to be there at import.
    _esm = traitlets.Unicode().tag(sync=True)

    state = traitlets.Dict().tag(sync=True)
    lost = traitlets.Float(0.0).tag(sync=True)
    """ms since the epoch: nothing is heard of them since; 0: all is as it is shown."""

    clock = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    """What goes on without a change of any row: now (ms since the epoch), and how long agents have been going."""

    picture = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)
    spans = traitlets.Bytes(b"").tag(sync=True)

    def __init__(self, stop: Callable[[str, bool], None], shown: Fleet) -> None:
        super().__init__(_esm=BUNDLE.read_text(), state=state_of(shown))
        self._stop = stop
        self.on_msg(self._asked)

    def take(self, shown: Fleet) -> bool:
        """Whether that is another picture than before."""
        if (state := state_of(shown)) == self.state:
            return False
        self.state = state
        return True

    def believe(self, lost: float | None) -> None:
        """lost: s since the epoch, as the feed says it."""
        self.lost = (lost or 0.0) * 1000

    def tick(self, shown: Fleet) -> None:
        ages = {row["agent"]: age_text(row) for row in fleet.listed(shown) if is_live(row)}
        self.clock = {"now": time.time() * 1000, "ages": ages}

    def draw(self, data: bytes, lanes: list[str], texts: list[str], origin: float) -> None:
        with self.hold_sync():
            self.picture = {"lanes": lanes, "texts": texts, "origin": origin}
            self.spans = data

    def mimes(self) -> dict[str, Any]:
        return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}

    def _asked(self, _widget: object, content: Any, _buffers: object) -> None:
        if (
            isinstance(content, dict)
            and content.get("do") in ("stop", "stop now")
            and isinstance(content.get("agent"), str)
        ):
            self._stop(content["agent"], content["do"] == "stop now")


def state_of(shown: Fleet) -> dict[str, Any]:
    """What the view shows of a fleet: safe, short texts."""
    return {
        "title": shown.title,
        "note": NOTE,
        "total": len(shown.agents),
        "ended": sum(not is_live(row) for row in shown.agents),
        "waiting": sum(row["status"] == "waiting" for row in shown.agents),
        "more": fleet.more(shown),
        "agents": [agent_of(row) for row in fleet.listed(shown)],
    }


def agent_of(row: Row) -> dict[str, Any]:
    name, kind, status, what, holds, usage, age = fleet.cells(row)
    icon, _, word = status.partition(" ")
    texts = dict(zip(KEYS, (name, kind, word, what, holds, usage, age), strict=True))
    return {**texts, "key": row["agent"], "icon": icon, "live": is_live(row)}


class FleetView:
    """One output of a cell, which follows its subject from the background thread."""

    def __init__(self, subject: Subject, static: dict[str, Any]) -> None:
        self._subject = subject
        self._last = subject._fleet(subject._lab._tables())
        self._widget = FleetWidget(self._stop, self._last)
        self._unwatch: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()
        self._tables: Tables = {}
        self._lost: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._display = Display()
        self._display.show({**static, **self._widget.mimes()})
        self._still = Still(self._display, lambda: subject._still(self._last), self._widget.mimes())

    def follow(self) -> None:
        self._unwatch = self._subject._lab._feed.watch(self._heard)

    def _heard(self, tables: Tables, lost: float | None) -> None:
        self._tables, self._lost = tables, lost
        self._changed.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="agentlab-fleet")

    async def _run(self) -> None:
        lived, read, took = True, 0.0, 0.0
        self._still.changed()  # rows may have changed between its first picture and the view
        while True:
            await self._change(beats=lived)
            self._changed.clear()
            self._widget.believe(self._lost)
            if self._subject._lab.closed:
                break
            if self._lost is not None:  # the rows may be none at all
                await asyncio.sleep(PAUSE)
                continue
            self._last = self._subject._fleet(self._tables)
            if self._last.over:
                break
            new = self._widget.take(self._last)
            lives = any(map(is_live, self._last.agents))
            if time.monotonic() - read >= took * SHARE or not lives:
                begun = time.monotonic()
                if (drawn := await asyncio.to_thread(self._drawing)) is not None:
                    self._widget.draw(*drawn)
                read, took = time.monotonic(), time.monotonic() - begun
            if lived and not lives and self._last.agents:
                await asyncio.to_thread(self._still.renew)
            elif new:
                self._still.changed()
            lived = lives
            self._widget.tick(self._last)
            await asyncio.sleep(PAUSE)
        self._unwatch()
        await asyncio.to_thread(self._settle)
        self._widget.close()

    async def _change(self, *, beats: bool) -> None:
        """Return when there are other rows. beats: the clock goes on meanwhile, as long as they are what is so."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), BEAT if beats else None)
            except TimeoutError:
                if self._lost is None:
                    self._widget.tick(self._last)
            else:
                return

    def _drawing(self) -> tuple[bytes, list[str], list[str], float] | None:
        spans = fleet.quiet_spans(self._subject)
        if spans is None or spans.empty:
            return None
        from agentlab.trace.packed import packed

        data, lanes, texts, _, origin = packed(spans)
        return data, lanes, [line(text, 200) for text in texts], origin

    def _settle(self) -> None:
        """What a saved notebook keeps, from now on."""
        try:
            last = self._subject._still(self._last) if self._subject._lab.closed else self._subject._bundle()
        except AgentlabError:  # it went away just now
            last = self._subject._still(self._last)
        self._still.end(last)

    def _stop(self, key: str, now: bool) -> None:
        from agentlab.client.handle import AgentHandle

        if key in {row["agent"] for row in self._last.agents}:
            handle = AgentHandle(self._subject._lab, key, name=key.partition("/")[2], kind="")
            background.submit(handle._stop(now))
