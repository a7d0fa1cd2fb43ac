"""What works here and what does not, with the next step where it does not: the plane's checks, and what a client sees."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from agentlab.__about__ import PROTOCOL, __version__
from agentlab.errors import AgentlabError
from agentlab.link.messages import Admin, View

from . import profiles

if TYPE_CHECKING:
    from .lab import Lab


class Check(NamedTuple):
    """verdict: ok | warn (something optional is missing or at risk) | fail. fix: what to do."""

    check: str
    verdict: str
    detail: str
    fix: str = ""


def checks(connected: Callable[[], Lab]) -> list[Check]:
    """All checks. Where no plane can be reached that is one of them, and those that only it can make are missing."""
    here = Check("client", "ok", f"agentlab {__version__}, protocol {PROTOCOL}, Python {platform.python_version()}")
    try:
        lab = connected()
        welcome = lab._welcome()
        answers = lab._ask(Admin(verb="doctor"), View).data
    except AgentlabError as error:
        return [here, Check("plane", "fail", str(error), "agentlab daemon logs")]
    found = [here, *(Check(c["name"], c["verdict"], c["detail"], c.get("fix", "")) for c in answers)]
    for name, program in profiles.programs(lab.home).items():
        if shutil.which(program) is None:
            found = [c for c in found if c.check != f"profile {name}"]
            what = f"Its entry in the registry is started by {program!r}, and there is no such program on PATH."
            found.append(Check(f"profile {name}", "warn", what, f"install it, or change [agents.{name}]"))
    for name, why in profiles.problems(lab.home).items():
        found = [c for c in found if c.check != f"profile {name}"]
        found.append(Check(f"profile {name}", "fail", why, "mend config.toml"))
    if welcome.version != __version__:
        detail = f"It is {welcome.version}, this client {__version__}."
        found.append(Check("plane's version", "warn", detail, "agentlab daemon stop; agents go on"))
    return found
