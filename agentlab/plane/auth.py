"""Who may do what. The admin token is for people; each agent has a token of its own that opens only its own doors.

An agent's token is made from the home's secret and its key, so a restarted plane knows it again without having stored it;
it is worth nothing once the agent has ended.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from agentlab.core import commands as c
from agentlab.errors import Forbidden
from agentlab.link import messages as m

ADMIN = "admin"

_AGENT_REQUESTS = (
    m.WaitTicket,
    m.Renew,
    m.PutBlobs,
    m.GetBlob,
    c.Claim,
    c.Release,
    c.Ready,
    c.Report,
    c.SetPlan,
    c.Ask,
    c.Withdraw,
    c.Status,
    c.Finish,
    c.Touched,
)


def home_secret(home: Path) -> bytes:
    """The secret that agents' tokens are made from, created 0600 when first needed."""
    path = home / "secret"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(fd, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()


class Authority:
    def __init__(self, admin_token: str, secret: bytes) -> None:
        self.admin_token = admin_token
        self._secret = secret

    def agent_token(self, agent: str) -> str:
        return f"{agent}:{hmac.new(self._secret, agent.encode(), sha256).hexdigest()}"

    def identify(self, token: str) -> str:
        """`admin`, or the agent that the token was made for. Raises Forbidden, without a hint at what was wrong."""
        if hmac.compare_digest(token.encode(), self.admin_token.encode()):
            return ADMIN
        agent, _, _ = token.rpartition(":")
        if agent and hmac.compare_digest(token.encode(), self.agent_token(agent).encode()):
            return agent
        raise Forbidden("This token opens nothing here. It may be of an earlier plane: connect again.")


def check(identity: str, request: m.AnyRequest) -> None:
    """Whether this identity may ask that. An agent may act for itself alone. Raises Forbidden."""
    if identity == ADMIN:
        return
    if not identity:
        raise Forbidden("Say hello first.")
    if not isinstance(request, _AGENT_REQUESTS):
        raise Forbidden(f"An agent may not ask for {type(request).__name__}.")
    who = getattr(request, "agent", None) or getattr(request, "owner", None)
    if who is not None and who != identity:
        raise Forbidden(f"Agent {identity} may not act for {who}.")
    run_id = getattr(request, "run_id", None)
    if run_id and run_id != identity.partition("/")[0]:
        raise Forbidden(f"Agent {identity} may not act in run {run_id}.")
