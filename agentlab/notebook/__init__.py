"""The notebook's face: `%agent`, its completion, live views. Loaded by `%load_ext agentlab`, or by `connect()` in a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load_ipython_extension", "show_live", "unload_ipython_extension"]


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """Twice is no error: the second time everything is replaced."""
    from .completion import install
    from .magics import AgentMagics

    magics = AgentMagics(ipython)
    ipython.register_magics(magics)
    install(ipython, magics)
    show_live()


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    from agentlab.client import handle

    from .completion import uninstall

    uninstall(ipython)
    for kind in ("line", "cell"):
        ipython.magics_manager.magics[kind].pop("agent", None)
    handle.live = None


def show_live() -> None:
    """From now on handles are shown live, where this is a kernel with a front end."""
    from IPython import get_ipython

    if getattr(get_ipython(), "kernel", None) is None:
        return
    from agentlab.client import handle

    from .display import LiveViews

    if handle.live is None:
        handle.live = LiveViews()
