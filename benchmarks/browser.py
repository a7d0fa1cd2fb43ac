"""JupyterLab in a real browser: how soon an event is seen, how soon a long run is open, how soon a moment of it is there.

A real plane, a real Jupyter server, Debian's Chromium, all on this machine. What is seen is looked for in the page itself,
in the frame after it was painted. Peers are the same server's bare answers, fetched and parsed by the same page.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import random
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import msgspec

from agentlab import discovery
from agentlab.core.commands import Spawn, Spawned, StartRun
from agentlab.core.events import AgentSpec
from agentlab.discovery import Plane
from agentlab.link.client import LinkClient, hello
from agentlab.plane.auth import Authority, home_secret
from tests.browser import lab as labs

from . import history, servers
from .bustle import Crowd, Done
from .lockers import ROOT
from .measure import Measure, alone, left_out, paired
from .recorder import NO_SLOTS

T = TypeVar("T")

AGENTS, RATE = 50, 2_000  # events/s
EVENTS = 200_000  # over which memory must stay flat
LONG = 100_000  # events of the run that is opened
ROUNDS = 3
MOMENTS = 60
STARTS = 7
RUN = "crowd"

WATCH = """
() => {
  window.seen = {};
  window.longest = 0;
  new PerformanceObserver(list => {
    for (const task of list.getEntries()) window.longest = Math.max(window.longest, task.duration);
  }).observe({ type: 'longtask' });
  const look = () => {
    for (const row of document.querySelectorAll('.jp-agentlab-agent')) {
      const found = /probe-(\\d+)/.exec(row.textContent);
      if (found && !(found[1] in window.seen)) {
        window.seen[found[1]] = 0;
        requestAnimationFrame(() => setTimeout(() => {
          window.seen[found[1]] = performance.timeOrigin + performance.now();
        }));
      }
    }
  };
  new MutationObserver(look).observe(document.querySelector('#agentlab-panel'), { subtree: true, childList: true, characterData: true });
}
"""

FETCH = """
async ([base, run]) => {
  const begun = performance.now();
  let last = 0, length;
  do {
    const page = await (await fetch(`${base}agentlab/api/runs/${run}/events?since=${last}&limit=10000`)).json();
    length = page.length;
    last = length ? page[length - 1].seq : last;
  } while (length === 10000);
  return [performance.now() - begun, last];
}
"""

OPEN = """
async ([run, last]) => {
  const begun = performance.now();
  const late = () => { if (performance.now() > begun + 300_000) throw new Error('it never came'); };
  await window.jupyterapp.commands.execute('agentlab:open-run', { run_id: run });
  for (;;) {
    const place = document.querySelector('.jp-agentlab-console .jp-agentlab-run-scrubber-place');
    const found = place && /event ([\\d,]*\\d) of ([\\d,]*\\d)/.exec(place.textContent);
    if (found && found[1] === found[2] && Number(found[2].replaceAll(',', '')) === last && document.querySelector('.jp-agentlab-console .jp-agentlab-run-event')) break;
    late();
    await new Promise(done => requestAnimationFrame(done));
  }
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun;
}
"""

SCRUB = """
async ([base, run, seq]) => {
  const slider = document.querySelector('.jp-agentlab-console input[type=range]');
  const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  let begun = performance.now();
  const late = () => { if (performance.now() > begun + 60_000) throw new Error('it never came'); };
  set.call(slider, String(seq));
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  for (;;) {
    await new Promise(done => requestAnimationFrame(done));
    const pane = document.querySelector('.jp-agentlab-console .jp-agentlab-run-pane .jp-agentlab-run-scroll');
    if (pane && pane.getAttribute('aria-busy') === 'false' && slider.value === String(seq)) break;
    late();
  }
  const ours = performance.now() - begun;
  begun = performance.now();
  await (await fetch(`${base}agentlab/api/runs/${run}/state?seq=${seq - 1}`)).json();
  return [ours, performance.now() - begun];
}
"""


DRAW = """
async frames => {
  const canvas = document.querySelector('.jp-agentlab-console canvas');
  const box = canvas.getBoundingClientRect();
  const at = { bubbles: true, cancelable: true, clientX: box.left + box.width / 2, clientY: box.top + 60 };
  const times = [];
  let before = performance.now();
  for (let n = 0; n < frames; n++) {
    const zoom = n % 20 < 10;
    canvas.dispatchEvent(new WheelEvent('wheel', { ...at, ctrlKey: zoom, shiftKey: !zoom, deltaY: n % 40 < 20 ? -60 : 60 }));
    await new Promise(done => requestAnimationFrame(done));
    times.push(performance.now() - before);
    before = performance.now();
  }
  return times;
}
"""


def run(quick: bool = False) -> list[Measure]:
    if why := labs.why_not():
        return [left_out("the sidebar and the run console", "the same server's bare answers", why)]
    measures = [_bundle()]
    with labs.browser() as chrome:
        rate = 200 if quick else RATE
        measures += _live(chrome, 6 if quick else EVENTS / RATE, rate)
        measures += _live(chrome, 6 if quick else 20, rate, console=True)
        measures += _long(
            chrome, 3_000 if quick else LONG, 1 if quick else ROUNDS, 3 if quick else MOMENTS, 40 if quick else 200
        )
        measures.append(_start(chrome, 1 if quick else STARTS))
    return measures


def _bundle() -> Measure:
    size = sum(len(gzip.compress(path.read_bytes())) for path in (labs.BUILT / "static").rglob("*.js"))
    return alone("all of the extension's scripts, gzipped", size / 1000, "kB", target=400, better="lower")


# --- live --------------------------------------------------------------------------------------------------


def _live(chrome: Any, seconds: float, rate: int, *, console: bool = False) -> list[Measure]:
    """The sidebar, while agents work; console: with the console of their run open beside it, which keeps all of it."""
    with _plane() as (home, plane), _lab(chrome, home) as page:
        crowd = _await(_crowd(plane, home))
        page.show_panel()
        page.agent("agent-0").wait_for()
        if console:
            page.run("agentlab:open-run", {"run_id": RUN})
            page.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
        page.page.evaluate(WATCH)
        feeding = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bustle", str(seconds), str(rate)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert feeding.stdin
        try:
            feeding.stdin.write(msgspec.json.encode(crowd).decode() + "\n")
            feeding.stdin.flush()
            page.page.wait_for_timeout(1e3 * seconds / 5)
            early = 1.0 if console else _heap(page)  # collecting the garbage is a long task itself
            output, _ = feeding.communicate(timeout=seconds + 60)
        finally:
            feeding.kill()
        done = msgspec.json.decode(output, type=Done)
        page.page.wait_for_function(f"() => window.seen['{len(done.probes) - 1}'] > 0", timeout=60_000)
        longest = page.page.evaluate("() => window.longest")
        late = 1.0 if console else _heap(page)
        seen = {int(n): at for n, at in page.page.evaluate("() => window.seen").items()}
    delays = _delays(done.probes, seen)
    name = f"{AGENTS} agents, {done.events / done.seconds:,.0f} events/s{', their console open' if console else ''}"
    note = (
        f"median {median(delays):.0f}; {len(done.probes) - len(seen)} of {len(done.probes)} were overtaken by the next"
    )
    measures = [
        alone(
            f"{name}: event to pixel, p95", delays[int(0.95 * len(delays))], "ms", target=150, better="lower", note=note
        ),
        alone(
            f"{name}: longest task of the page", longest, "ms", target=100, better="lower", note="0: none over 50 ms"
        ),
    ]
    if not console:
        beside = f"{name}: heap after {done.events:,} events beside a fifth of them"
        sizes = f"{early / 1e6:.0f} MB and {late / 1e6:.0f} MB"
        measures.append(alone(beside, late / early, "times", target=1.2, better="lower", note=sizes))
    return measures


def _delays(sent: list[int], seen: dict[int, float]) -> list[float]:
    """ms from each probe to the first frame that shows it, or a later one; sorted."""
    delays, shown = [], float("inf")
    for n in reversed(range(len(sent))):
        shown = min(shown, seen.get(n) or float("inf"))
        delays.append(shown - sent[n] / 1e6)
    return sorted(delays)


async def _crowd(plane: Plane, home: Path) -> Crowd:
    link = await LinkClient.connect(plane.address, hello(plane.token, "bench"))
    await link.request(StartRun(run_id=RUN, name=RUN, root=str(home.parent / "workspace"), host="bench"))
    authority = Authority(plane.token, home_secret(home))
    agents = {}
    for name in (*(f"agent-{n}" for n in range(AGENTS)), "the-time"):
        spawned = await link.request(Spawn(run_id=RUN, spec=AgentSpec(kind="script", name=name, task=[])))
        assert isinstance(spawned, Spawned)
        agents[spawned.agent] = authority.agent_token(spawned.agent)
    await link.close()
    return Crowd(address=plane.address, agents=agents)


def _heap(page: labs.Lab) -> float:
    """Bytes of the page's heap that are in use, after its garbage was collected."""
    session = page.page.context.new_cdp_session(page.page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")["usedSize"]
    session.detach()
    return float(used)


# --- a long run --------------------------------------------------------------------------------------------


def _long(chrome: Any, events: int, rounds: int, moments: int, frames: int) -> list[Measure]:
    with servers.folder() as folder:
        log = folder / "log.db"
        _await(history._make(log, events))
        _await(history._end(log))
        opened, fetched = [], []
        with _plane(log) as (home, _), _lab(chrome, home) as page:
            where = [labs.BASE, history.RUN]
            _, last = page.page.evaluate(FETCH, where)  # for both of them the file is in memory
            for number in range(rounds):
                for what in ("open", "fetch") if number % 2 else ("fetch", "open"):
                    if what == "open":
                        opened.append(page.page.evaluate(OPEN, [history.RUN, last]) / 1e3)
                        if number < rounds - 1:
                            page.run("application:close")
                            page.console.wait_for(state="detached")
                    else:
                        fetched.append(page.page.evaluate(FETCH, where)[0] / 1e3)
            times = sorted(page.page.evaluate(DRAW, frames))
            page.console.get_by_role("tab", name="State").click()
            luck = random.Random(1)
            pairs = [page.page.evaluate(SCRUB, [*where, luck.randint(2, last)]) for _ in range(moments)]
    beyond = sorted(ours - bare for ours, bare in pairs)
    name = f"a run of {events:,} events"
    smooth = f"median {median(times):.0f}, longest {times[-1]:.0f}; drawn without a GPU"
    return [
        alone(f"{name}: a frame of its timeline while it is zoomed and panned, p95", times[int(0.95 * len(times))], "ms", target=50, better="lower", note=smooth),
        paired(f"{name}: opening its console", opened, "s", "fetching its events in the page", fetched, target=2.0, better="lower"),
        alone(f"{name}: a moment of it on the screen, beyond a fetch of the same, p95", beyond[int(0.95 * len(beyond))], "ms",
              target=100, better="lower", note=f"medians {median(o for o, _ in pairs):.0f} and {median(b for _, b in pairs):.0f}"),
    ]  # fmt: skip


# --- the start of JupyterLab -------------------------------------------------------------------------------


def _start(chrome: Any, rounds: int) -> Measure:
    """From the address to a restored JupyterLab, with the extension and without, in turns; each in a fresh profile."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with contextlib.ExitStack() as stack:
        sites = {}
        for on in (True, False):
            folder = stack.enter_context(servers.folder())
            stack.callback(discovery.stop, folder / "home", force=True)  # what the server starts outlives it
            sites[on] = stack.enter_context(labs.serve(folder, folder / "home", enabled=on))
        for number in range(rounds + 1):
            for on in (True, False) if number % 2 else (False, True):
                context = chrome.new_context()
                page = context.new_page()
                begun = time.perf_counter()
                page.goto(sites[on].lab_url())
                page.wait_for_function("() => window.jupyterapp && window.jupyterapp.restored.then(() => true)")
                took = time.perf_counter() - begun
                assert bool(page.locator(".jp-SideBar .lm-TabBar-tab[title^=agentlab]").count()) is on, (
                    "it is switched off where it should be"
                )
                if number:  # the first is for the caches of the server
                    seconds[on].append(took)
                context.close()
    return paired(
        "JupyterLab's start", seconds[True], "s", "without the extension", seconds[False], target=1.03, better="lower"
    )


# --- what stands around --------------------------------------------------------------------------------------


def _await(work: Coroutine[Any, Any, T]) -> T:
    """In a thread: Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@contextlib.contextmanager
def _plane(log: Path | None = None) -> Iterator[tuple[Path, Plane]]:
    with servers.plane(NO_SLOTS, log) as (server, plane):
        yield server.folder / "home", plane


@contextlib.contextmanager
def _lab(chrome: Any, home: Path) -> Iterator[labs.Lab]:
    with servers.folder() as base, labs.serve(base, home) as server, labs.visit(chrome, server) as page:
        yield page
