"""Who asks, and from where."""

from __future__ import annotations

import getpass
import os
import platform
import sys

from .text import line


def host_name() -> str:
    """The machine whose disk holds a workspace, as every part of agentlab on it calls it: its node name.

    A machine id would survive a renaming, but containers that share a disk differ in it or lack it, and people cannot
    read it. Two machines of one name that share a plane would be taken for one.
    """
    return platform.node() or "localhost"


def user_name() -> str:
    """The name that the log keeps of who uses this process: JupyterHub's where it started the server that this belongs to.

    The system's user is often the same for everybody there, and what a person began in a notebook is theirs in the sidebar too.
    """
    if hubs := line(os.environ.get("JUPYTERHUB_USER", ""), 64):
        return hubs
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's uid without a name
        return f"uid-{os.getuid()}"


def kind_here() -> str:
    """notebook where a kernel runs in this process, else python."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return "notebook" if getattr(shell, "kernel", None) is not None else "python"
