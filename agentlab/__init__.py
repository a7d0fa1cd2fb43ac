"""A Jupyter-native control plane for coding agents.

    lab = agentlab.connect()
    with lab.run("refactor", workdir=".") as run:
        run.spawn("script", name="a", steps=[{"say": "hello"}])
    run.events()

In a notebook also `%load_ext agentlab`, then `%agent`. Everything is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentlab.__about__ import __version__
from agentlab.errors import (
    AgentFailed,
    AgentlabError,
    AgentTimeout,
    AlreadyHeld,
    BadRequest,
    Forbidden,
    NameTaken,
    NotFound,
    NotHeld,
    OutcomeUnknown,
    OutsideWorkspace,
    PatchFailed,
    PlaneUnavailable,
    Refused,
    StaleBase,
    StaleToken,
    StoreCorrupt,
    Unavailable,
    VersionMismatch,
    WouldBlock,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agentlab.client import AgentHandle, Hold, Lab, Result, Run

__all__ = [
    "AgentFailed",
    "AgentHandle",
    "AgentTimeout",
    "AgentlabError",
    "AlreadyHeld",
    "BadRequest",
    "Forbidden",
    "Hold",
    "Lab",
    "NameTaken",
    "NotFound",
    "NotHeld",
    "OutcomeUnknown",
    "OutsideWorkspace",
    "PatchFailed",
    "PlaneUnavailable",
    "Refused",
    "Result",
    "Run",
    "StaleBase",
    "StaleToken",
    "StoreCorrupt",
    "Unavailable",
    "VersionMismatch",
    "WouldBlock",
    "__version__",
    "connect",
    "load_ipython_extension",
    "unload_ipython_extension",
]

_CLIENT = ("AgentHandle", "Hold", "Lab", "Result", "Run")


def connect(home: str | Path | None = None, url: str | None = None, start: bool = True) -> Lab:
    """The lab of the plane at `url`, else at `$AGENTLAB_URL`, else of `home` (`$AGENTLAB_HOME`, the user's data folder).

    A home without a plane gets one, unless `start` is False. Raises PlaneUnavailable, VersionMismatch, BadRequest.
    """
    import sys

    from agentlab.client import connect as connect_client

    if "ipykernel" in sys.modules:  # handles show themselves live, with or without %load_ext
        from agentlab.notebook import show_live

        show_live()
    return connect_client(home, url, start)


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext agentlab`: the magic `%agent`, its completion, and live views of agents."""
    from agentlab.notebook import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    from agentlab.notebook import unload_ipython_extension as unload

    unload(ipython)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """For the Jupyter server: its extension, which wants the extra `notebook`."""
    from importlib import import_module

    module = "agentlab.serverextension"
    return [{"module": module, "app": import_module(module).AgentLabApp}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """For JupyterLab: what is built of labextension/."""
    return [{"src": "labextension", "dest": "agentlab"}]


def __getattr__(name: str) -> Any:
    if name in _CLIENT:
        from agentlab import client

        return getattr(client, name)
    raise AttributeError(f"module 'agentlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
