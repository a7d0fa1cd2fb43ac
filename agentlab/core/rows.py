"""The rows of the state: what a person, the sidebar and a frame see of it. Times are ns since the epoch."""

from __future__ import annotations

from msgspec import Struct, field

from .commands import CLI, Mail
from .events import JSON, AgentSpec, Standing

LIVE = frozenset({"queued", "dispatched", "running", "idle", "blocked", "paused", "stopping"})
"""Agent statuses of an agent that has not ended. `waiting` is shown for a running agent whose claim is queued."""

ENDED = frozenset({"done", "failed", "cancelled"})


class Run(Struct, kw_only=True):
    run_id: str
    name: str
    root: str
    host: str
    status: str = "open"  # open | done | failed | cancelled
    session_id: str = ""
    schedule: str = "arrival"
    claims: str = "implicit"
    begun: bool = False
    auto_end: bool = False
    user: str = ""
    base_tree: str | None = None
    started: int = 0
    ended: int | None = None
    reason: str = ""
    seq: int = 0
    touched: int = 0  # ts of the newest event
    tasks: int = 0  # how many there ever were
    agents: int = 0
    live: int = 0  # agents that have not ended
    usage: dict[str, float] = field(default_factory=dict)  # of all its agents, so far; see `core.usage`
    env: dict[str, str] = field(default_factory=dict)


class Agent(Struct, kw_only=True):
    agent: str  # run/agent: the key
    run_id: str
    agent_id: str
    name: str
    spec: AgentSpec
    task_id: str
    status: str = "queued"
    reason: str = ""
    runtime: str | None = None
    place: str | None = None
    pid: int | None = None
    doing: str = ""
    alert: str = ""  # what needs a look: a stall, before it is ended for it
    sandbox: str = ""  # of commands, and of a vendor's program that keeps its own tools: bubblewrap | landlock | none; "" until its runner has said
    plan: tuple[str, ...] = ()
    plan_units: tuple[str, ...] = ()
    queued_at: int = 0
    started: int | None = None
    ended: int | None = None
    paused_at: int | None = None
    output: JSON = None
    error: str = ""
    exit_code: int | None = None
    usage: dict[str, float] = field(default_factory=dict)
    resets: int | None = None  # when the limit that it ran into resets, where the vendor says so
    vendor_session: str | None = None
    acted: bool = False  # a tool has run
    mail: list[Mail] = field(default_factory=list)
    rid: str = ""


class Task(Struct, kw_only=True):
    task_id: str
    run_id: str
    goal: str
    parent: str | None = None
    owner: str | None = None
    status: str = "pending"
    input: JSON = None
    output: JSON = None
    artifacts: tuple[str, ...] = ()
    created: int = 0
    updated: int = 0


class Runtime(Struct, kw_only=True):
    runtime_id: str
    kind: str
    host: str
    slots: int
    name: str = ""
    status: str = "online"  # online | offline, as last logged; buckets are derived in `core.health`
    reason: str = ""
    kinds: tuple[str, ...] = ()
    clis: tuple[CLI, ...] = ()
    registered: int = 0
    changed: int = 0  # ts of the last change of status
    detail: str = ""


class Question(Struct, kw_only=True):
    """An approval: what an agent wants to know or to be allowed, and what it was told. Fields as in `events.Approval`."""

    approval: str
    run_id: str
    agent: str
    kind: str
    question: str
    options: tuple[str, ...] = ()
    tool: str = ""
    units: tuple[str, ...] = ()
    input: JSON = None
    diff: str | None = None
    risk: str = "low"
    risks: tuple[str, ...] = ()
    locks: tuple[Standing, ...] = ()
    status: str = "asked"  # asked | approved | denied | answered | expired | cancelled
    answer: str = ""
    by: str = ""
    scope: str = "once"
    rule: str = ""
    asked: int = 0
    answered: int | None = None
    expires: int | None = None
    rid: str = ""


class ArtifactRow(Struct, kw_only=True):
    """An output that an agent declared. The diffs of its writes and long outputs are in the log alone."""

    run_id: str
    seq: int
    agent: str
    name: str
    kind: str
    hash: str
    size: int
    media: str
    path: str | None = None
