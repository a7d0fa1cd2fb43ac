from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from agentlab.client import background


async def _thread() -> str:
    return threading.current_thread().name


def test_all_calls_run_on_one_thread_whichever_thread_they_come_from() -> None:
    found = [background.call(_thread())]
    other = threading.Thread(target=lambda: found.append(background.call(_thread())))
    other.start()
    other.join()
    assert found == ["agentlab", "agentlab"]


async def test_a_call_can_be_made_while_another_event_loop_runs() -> None:
    assert background.call(_thread()) == "agentlab"
    assert await asyncio.wrap_future(background.submit(_thread())) == "agentlab"


def test_a_call_from_its_own_thread_is_refused_instead_of_waiting_for_itself() -> None:
    async def inside() -> str:
        return background.call(_thread())

    with pytest.raises(RuntimeError, match="wait for itself"):
        background.call(inside())


def test_an_interrupt_cancels_what_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = threading.Event()
    started = threading.Event()

    async def long() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    submit = background.submit

    def interrupted(work):
        future = submit(work)
        started.wait(10)

        def result():
            raise KeyboardInterrupt

        future.result = result
        return future

    monkeypatch.setattr(background, "submit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background.call(long())
    assert cancelled.wait(10)


def test_the_child_of_a_fork_gets_a_thread_of_its_own() -> None:
    code = """
import asyncio, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from agentlab.client import background
async def pid(): return os.getpid()
assert background.call(pid()) == os.getpid()
child = os.fork()
if child == 0:
    os._exit(0 if background.call(pid()) == os.getpid() else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_ends_quietly_while_something_is_still_waited_for() -> None:
    code = """
import asyncio
from agentlab.client import background
future = background.submit(asyncio.Event().wait())
print("end")
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_importing_agentlab_loads_neither_asyncio_nor_pandas_nor_ipython() -> None:
    code = """
import sys
before = set(sys.modules)
import agentlab
heavy = {"asyncio", "msgspec", "pandas", "IPython", "ipywidgets", "click", "rich", "pyarrow", "starlette"}
print(sorted(heavy & (set(sys.modules) - before)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ})
    assert done.stdout == "[]\n", done.stderr
