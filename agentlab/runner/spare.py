"""A runner that was started before there was an agent for it: what it loads meanwhile, and how it becomes an agent's."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
from pathlib import Path

from agentlab import kinds, processes
from agentlab.errors import AgentlabError
from agentlab.runtimes.base import Launch

from . import model_proxy
from .tools import ToolHost


def preload(home: Path) -> None:
    """The drivers of all kinds of agents that this home has had, their tools, and what stands before their models: all that
    would be done for the first time while somebody waits for it."""
    ToolHost.preload()
    for folder in sorted((home / "kinds").glob("*")):
        try:
            driver = kinds.load(folder.name)
            if load := getattr(driver, "preload", None):
                load()
        except (AgentlabError, ImportError):
            continue  # whoever needs it will say what is missing
    with contextlib.suppress(ImportError, OSError):
        model_proxy.preload()
    gc.collect()
    gc.freeze()  # it is all to be kept: a later collection does not look through it once more, which takes as long as a start


def become(launch: Launch) -> None:
    """From now on it is this agent's: in its environment, as others see it too, and in where its words go."""
    _rename(launch.agent)
    log = os.open(launch.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)


def _rename(agent: str) -> None:
    """Others find the processes of an agent in /proc, which shows what a process was started with: that very memory is
    written over. Setting a variable would put it elsewhere."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    room, name = len(os.environb[processes.AGENT_VARIABLE.encode()]), agent.encode()
    ctypes.memmove(libc.getenv(processes.AGENT_VARIABLE.encode()), name.ljust(room, b"\0"), room)
    os.environ[processes.AGENT_VARIABLE] = agent
