"""The one background thread of a process: an asyncio loop that all links, waits and live views share.

Kernels and scripts call in from their own threads and from inside other event loops. After a fork the child has
no such thread; it gets one of its own with its first call, and links are opened anew (see `connection`): what the
parent has open stays the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The loop, started when first asked for."""
    global _loop, _thread
    with _lock:
        if _loop is None or _thread is None or not _thread.is_alive():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_run, args=(_loop,), name="agentlab", daemon=True)
            _thread.start()
        return _loop


def _run(running: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(running)
    try:
        running.run_forever()
    finally:
        for task in (tasks := asyncio.all_tasks(running)):
            task.cancel()
        running.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        running.run_until_complete(running.shutdown_asyncgens())
        running.close()


def submit(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Begin `work` there; the future can be waited for from any thread, or wrapped for another loop."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def call(work: Coroutine[Any, Any, T]) -> T:
    """Do `work` there and return what it returns. An interrupt (Ctrl-C) cancels it and is raised here."""
    if threading.current_thread() is _thread:
        work.close()
        raise RuntimeError(
            "This would wait for itself: it was called from agentlab's own thread, e.g. from a listener."
        )
    future = submit(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def _close() -> None:
    """At exit: no thread is left half way, nothing is printed."""
    global _loop
    with _lock:
        running, _loop = _loop, None
    if running is not None and not running.is_closed():
        running.call_soon_threadsafe(running.stop)
        if _thread is not None:
            _thread.join(timeout=2.0)


def _forget() -> None:
    """In the child of a fork: the thread did not come along, and its loop is the parent's."""
    global _loop, _thread, _lock
    _loop, _thread, _lock = None, None, threading.Lock()


atexit.register(_close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
