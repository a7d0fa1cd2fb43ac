"""What an agent and its processes find in their environment, and where an agent keeps what is its own. Pure, but for mkdir."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agentlab.errors import BadRequest
from agentlab.processes import AGENT_VARIABLE

from .tools import PINNED

BASICS = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX"}
    | {"LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)
"""Without these programs do not run at all. Everything else of the machine stays out, so that runs are alike."""


def environment(
    base: Mapping[str, str], agent: str, pinned: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, str]:
    """The complete environment of an agent. What is agentlab's own (homes, tokens) is not in it, but for the marker by
    which what is left of the agent is found."""
    basics = {name: value for name, value in base.items() if name in BASICS or name.startswith("XDG_")}
    chosen = {name: value for name, value in {**pinned, **secrets}.items() if not name.startswith("AGENTLAB_")}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin"} | basics | PINNED | chosen | {AGENT_VARIABLE: agent}


def private_folder(home: Path, agent: str) -> Path:
    """A folder of this agent alone. It is made, 0700."""
    run, _, name = agent.partition("/")
    if not run or not name or {run, name} & {".", ".."} or "/" in name:
        raise BadRequest(f"{agent!r} is no agent: write run/agent.")
    folder = home / "agents" / run / name
    for part in (folder.parent.parent, folder.parent, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def shared_folder(home: Path, kind: str) -> Path:
    """A folder that all agents of a kind share, also those of later runs. It is made, 0700."""
    folder = home / "kinds" / kind
    for part in (folder.parent, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
