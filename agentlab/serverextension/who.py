"""The name that the log keeps of who asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agentlab.client.text import line
from agentlab.client.who import user_name

if TYPE_CHECKING:
    from jupyter_server.auth import User

_MADE_UP = re.compile(r"[0-9a-f]{32}")


def name_of(user: User) -> str:
    """The user that Jupyter knows: JupyterHub's, or an identity provider's. Who logged in with the token of a server of one's
    own is called Anonymous by Jupyter; that is the person whose server it is."""
    name = user.username or ""
    if not name or (_MADE_UP.fullmatch(name) and (user.name or "").startswith("Anonymous ")):
        return user_name()
    return line(name, 64)
