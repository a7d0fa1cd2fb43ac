"""The Jupyter server's door to the plane: a gateway with Jupyter's own login, and nothing else. Losing it loses nothing.

    <base_url>agentlab/status        whether there is a plane; it is found or started by asking
    <base_url>agentlab/spawn         opens or finds a run and spawns an agent in it, with all checks of the client
    <base_url>agentlab/api/...       the plane's /api/..., as far as `forwarded` lists it; /api/stream and /api/runs/{id}/stream are sockets

Wants the extra `notebook`.
"""

from __future__ import annotations

try:
    from .app import AgentLabApp
except ModuleNotFoundError as error:  # pragma: no cover - tested in a process of its own
    if (error.name or "").partition(".")[0] not in ("jupyter_server", "tornado", "traitlets"):
        raise
    raise ImportError(
        "The Jupyter server extension of agentlab needs jupyter_server. Install it with: pip install 'agentlab[notebook]'"
    ) from error

__all__ = ["AgentLabApp"]
