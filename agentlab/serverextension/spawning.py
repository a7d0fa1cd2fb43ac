"""An agent from the browser: the client's own checks and words, in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from pathlib import Path

import msgspec
from jupyter_server.auth.decorator import authorized
from msgspec import Struct
from tornado import web

from agentlab.client.lab import Lab
from agentlab.client.target import Target
from agentlab.core.events import JSON
from agentlab.errors import BadRequest

from .forwarded import BODY
from .handlers import GatewayHandler, guarded

LABS = 32  # people who have a connection of their own to the plane; the one who was away longest is let go


class Wanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An agent to be spawned. run: a name or id; an open one is used, else one is opened over `workdir`; none: a run of its own.

    workdir: a folder of the server; a relative one begins where the server's files do. env: references that the server can look
    up; a value itself would come through the browser. The rest: as for `Run.spawn`.
    """

    kind: str
    task: JSON
    workdir: str | None = None
    run: str | None = None
    name: str | None = None
    claims: tuple[str, ...] = ()
    claims_mode: str = "exclusive"
    model: str | None = None
    role: str = ""
    instructions: str = ""
    boundary: str | None = None
    priority: str = "normal"
    tools: tuple[str, ...] | None = None
    permissions: tuple[str, ...] = ()
    runtime: str | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    max_time: float | None = None
    wait_limits: bool = False
    keep: bool = False
    env: dict[str, str] = {}
    options: dict[str, JSON] = {}

    def __post_init__(self) -> None:
        for name, given in self.env.items():
            if not given.startswith(("env:", "file:")):
                raise ValueError(f"the value of {name} in env must be a reference, env:NAME or file:/path")

    @property
    def of_the_agent(self) -> dict[str, JSON]:
        given: dict[str, JSON] = msgspec.to_builtins(self)
        return {name: value for name, value in given.items() if name not in ("kind", "task", "workdir", "run")}


class Labs:
    """A lab for each person, so that runs and locks carry their name. Blocking: to be used in threads."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._labs: OrderedDict[str, Lab] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, user: str) -> Lab:
        with self._lock:
            if user not in self._labs:
                self._labs[user] = Lab(self._target, kind="jupyterlab", user=user)
            self._labs.move_to_end(user)
            surplus = [self._labs.popitem(last=False)[1] for _ in range(len(self._labs) - LABS)]
        for lab in surplus:
            lab.close()
        return self._labs[user]

    def close(self) -> None:
        with self._lock:
            labs, self._labs = list(self._labs.values()), OrderedDict()
        for lab in labs:
            lab.close()


def spawn(lab: Lab, wanted: Wanted, files: Path) -> dict[str, str]:
    """{agent, run_id}. Blocking. Raises what the client's spawn raises."""
    workdir = None if wanted.workdir is None else files / Path(wanted.workdir).expanduser()
    if wanted.run is None:
        agent = lab.spawn(wanted.kind, wanted.task, workdir=workdir or files, **wanted.of_the_agent)
    else:
        run = lab.open_run(wanted.run, workdir)
        agent = run.spawn(wanted.kind, wanted.task, **wanted.of_the_agent)
    return {"agent": agent.key, "run_id": agent.key.partition("/")[0]}


class SpawnHandler(GatewayHandler):
    @web.authenticated
    @authorized("execute")  # type: ignore[untyped-decorator]
    @guarded
    async def post(self) -> None:
        try:
            wanted = msgspec.convert(self.json_body(BODY), Wanted)
        except msgspec.ValidationError as error:
            raise BadRequest(
                f"This is no agent to spawn: {error}. Fields: {', '.join(Wanted.__struct_fields__)}."
            ) from None
        labs, who, files = self.gateway.labs, self.who, self.gateway.files
        self.answer_json(await asyncio.to_thread(lambda: spawn(labs.of(who), wanted, files)), 201)
