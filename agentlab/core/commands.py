"""What can be asked of the core: one class a request. Everything that changes something goes through here.

`rid` is the client's id of its request. A repeat with the same id gets the same answer and changes nothing.
Owners of locks are `run/agent` for agents and `user:NAME` for people.
"""

from __future__ import annotations

from msgspec import Struct

from .events import JSON, AgentSpec, AnyBody, Blocker, Mode, Priority, Revocation
from .policy import Rule


class Command(Struct, frozen=True, omit_defaults=True, kw_only=True, tag=True):
    rid: str = ""


def rid_of_claims(agent: str) -> str:
    """Of the claim of what an agent's spec names: queued when it is dispatched, and gone on with by its runner."""
    return f"{agent}:claims"


# --- people ------------------------------------------------------------------------------------------------


class StartRun(Command, frozen=True, tag="start_run"):
    """Open a run over the workspace at `root`. The id is the client's, so that a repeat is harmless."""

    run_id: str
    name: str
    root: str
    host: str
    session_id: str = ""
    schedule: str = "arrival"
    claims: str = "implicit"
    auto_end: bool = False
    user: str = ""
    session_kind: str = ""
    base_tree: str | None = None
    env: dict[str, str] = {}
    versions: dict[str, str] = {}


class BeginRun(Command, frozen=True, tag="begin_run"):
    """All agents of a `turns` run are spawned: let them go. Nothing happens in the other modes."""

    run_id: str


class EndRun(Command, frozen=True, tag="end_run"):
    """Close a run. Live agents refuse it (raises Refused) unless `stop`: then they are cancelled first by the plane."""

    run_id: str
    status: str = "done"
    reason: str = ""
    final_tree: str | None = None


class Spawn(Command, frozen=True, tag="spawn"):
    """Queue an agent. `secrets` are the values behind the references of `spec.env`: kept in memory, never logged."""

    run_id: str
    spec: AgentSpec
    parent_task: str | None = None
    secrets: dict[str, str] = {}

    def __repr__(self) -> str:  # the secrets stay out of logs and tracebacks
        return f"Spawn(run_id={self.run_id!r}, spec={self.spec!r}, secrets={sorted(self.secrets)})"


class CreateTask(Command, frozen=True, tag="create_task"):
    run_id: str
    goal: str
    parent: str | None = None
    owner: str | None = None
    input: JSON = None


class UpdateTask(Command, frozen=True, tag="update_task"):
    run_id: str
    task_id: str
    status: str
    output: JSON = None
    artifacts: tuple[str, ...] = ()


class SendText(Command, frozen=True, tag="send"):
    """A follow-up to a live agent. Delivered to its runner in order; `interrupt` stops what it does now first."""

    agent: str  # run/agent
    text: str
    interrupt: bool = False
    by: str = "user"


class Signal(Command, frozen=True, tag="signal"):
    """verb: pause | resume | stop | kill | interrupt."""

    agent: str
    verb: str
    by: str = "user"
    reason: str = ""


class Answer(Command, frozen=True, tag="answer"):
    """Answer a question of an agent. The first answer wins; a later one is refused and says who was first, and what.

    scope: once; session: also whenever this agent asks the same again; always: whichever agent asks it in this workspace.
    """

    approval: str
    status: str  # approved | denied | answered
    answer: str = ""
    by: str = "user"
    scope: str = "once"


# --- locks -------------------------------------------------------------------------------------------------


class Claim(Command, frozen=True, tag="claim"):
    """Ask for units, all or none, under one ticket.

    An owner that holds nothing queues where they are taken. One that holds some is refused (`extend`), or with
    `yields` gives everything back and queues for the old units and the new with its old place.
    """

    owner: str
    units: tuple[str, ...]  # canonical
    mode: Mode = Mode.EXCLUSIVE
    run_id: str = ""  # whose workspace the names are relative to
    ttl: float = 60.0  # s
    implicit: bool = False
    priority: Priority = Priority.NORMAL
    yields: bool = False
    wait: bool = True  # False: refused instead of queued


class Release(Command, frozen=True, tag="release"):
    """Give back tickets, or just some units of them. What is not held any more is no error: release is idempotent."""

    owner: str
    tickets: tuple[int, ...] = ()  # () = all
    units: tuple[str, ...] = ()  # () = all of the tickets
    reason: str = ""


class Bump(Command, frozen=True, tag="bump"):
    """An operator moves a waiting ticket before the others that it conflicts with."""

    ticket: int
    by: str = "user"


class Revoke(Command, frozen=True, tag="revoke"):
    """An operator takes a ticket from its owner, or a waiting one out of the queue. The owner's next write is refused."""

    ticket: int
    by: str = "user"
    reason: str = ""


# --- runners -----------------------------------------------------------------------------------------------


class Ready(Command, frozen=True, tag="ready"):
    """The runner of an agent is there (again). Answered by `Hired`."""

    agent: str
    pid: int = 0
    place: str | None = None


class Entry(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event as a runner reports it: the plane adds run, seq and order. `n` counts up in the runner's journal."""

    n: int
    ts: int
    actor: str | None = None  # None = the agent itself; a subagent otherwise
    task_id: str | None = None
    span: str | None = None
    parent: str | None = None
    name: str | None = None
    unit: str | None = None
    status: str | None = None
    dur_ns: int | None = None
    tok_in: int | None = None
    tok_out: int | None = None
    tok_cache: int | None = None
    cost: float | None = None
    body: AnyBody


class Report(Command, frozen=True, tag="report"):
    """What an agent did, in the order of its journal. Entries up to the last known `n` are dropped: repeats are harmless."""

    agent: str
    entries: tuple[Entry, ...]


class SetPlan(Command, frozen=True, tag="set_plan"):
    agent: str
    steps: tuple[str, ...]
    units: tuple[str, ...] = ()


class Ask(Command, frozen=True, tag="ask"):
    """Put a question to a person, or ask for permission. The id is the runner's: asked again it is the same question."""

    agent: str
    approval: str
    question: str
    kind: str = "question"  # question | permission | login
    options: tuple[str, ...] = ()
    tool: str = ""
    units: tuple[str, ...] = ()
    input: JSON = None
    diff: str | None = None  # hash of a blob
    timeout: float | None = None  # s until it ends as `expired`
    rules: tuple[Rule, ...] = ()  # of the workspace: they only make it stricter


class Withdraw(Command, frozen=True, tag="withdraw"):
    """An agent does not wait for an answer any more. Answered meanwhile: nothing happens."""

    agent: str
    approval: str
    reason: str = ""


class Status(Command, frozen=True, tag="status"):
    """The agent's own word on its state: running | idle (between prompts) | paused | stopping."""

    agent: str
    status: str
    reason: str = ""
    vendor_session: str | None = None


class Finish(Command, frozen=True, tag="finish"):
    """The agent has ended: its processes are gone. Its locks are freed in the same step."""

    agent: str
    status: str  # done | failed | cancelled
    output: JSON = None
    error: str = ""
    reason: str = ""
    exit_code: int | None = None
    last_lines: str = ""
    usage: dict[str, float] = {}
    resets: int | None = None  # ns since the epoch: when the limit that it ran into resets, where the vendor says so


class Touched(Command, frozen=True, tag="touched"):
    """Which of these units did others hold at any time since the log position `since`? Changes nothing."""

    owner: str
    units: tuple[str, ...]
    since: int
    run_id: str = ""


# --- runtimes and time -------------------------------------------------------------------------------------


class CLI(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A detected agent program. verdict: ok | too old | not executable | missing | unknown version."""

    name: str
    verdict: str
    path: str | None = None
    version: str | None = None
    reason: str = ""


class RegisterRuntime(Command, frozen=True, tag="register_runtime"):
    runtime_id: str
    kind: str  # local, docker, kubernetes
    host: str
    slots: int
    name: str = ""
    kinds: tuple[str, ...] = ()  # agent kinds that it can start
    clis: tuple[CLI, ...] = ()
    detail: str = ""


class RuntimeSeen(Command, frozen=True, tag="runtime_seen"):
    """A heartbeat. Logged only where it changes the runtime's health."""

    runtime_id: str
    ok: bool = True
    reason: str = ""


class ForgetRuntime(Command, frozen=True, tag="forget_runtime"):
    runtime_id: str
    reason: str = ""


class Dispatch(Command, frozen=True, tag="dispatch"):
    """A slot was taken: the agent is now this runtime's."""

    agent: str
    runtime_id: str
    place: str | None = None


class Tick(Command, frozen=True, tag="tick"):
    """Time has passed: expire leases and pauses, and whatever is overdue."""


AnyCommand = (
    StartRun | BeginRun | EndRun | Spawn | CreateTask | UpdateTask | SendText | Signal | Answer
    | Claim | Release | Bump | Revoke
    | Ready | Report | SetPlan | Ask | Withdraw | Status | Finish | Touched
    | RegisterRuntime | RuntimeSeen | ForgetRuntime | Dispatch | Tick
)  # fmt: skip


# --- replies -----------------------------------------------------------------------------------------------


class Reply(Struct, frozen=True, omit_defaults=True, kw_only=True, tag=True): ...


class Done(Reply, frozen=True, tag="done"):
    """It is so; there is nothing more to say."""


class Granted(Reply, frozen=True, tag="granted"):
    ticket: int
    token: int
    units: tuple[str, ...]
    mode: Mode
    ttl: float


class Queued(Reply, frozen=True, tag="queued"):
    """It waits. `position` 1 = next. Ask again with `wait_ticket`."""

    ticket: int
    position: int
    behind: tuple[Blocker, ...]


class Opened(Reply, frozen=True, tag="opened"):
    run_id: str


class Spawned(Reply, frozen=True, tag="spawned"):
    agent: str  # run/agent
    task_id: str


class Mail(Struct, frozen=True):
    """A follow-up for an agent. The runner reports `StateSet(store="inbox", key=str(seq), after="taken")` when it takes it up."""

    seq: int
    text: str
    interrupt: bool = False


class Earlier(Struct, frozen=True):
    """What the log knows of the session of its vendor that an agent goes on in. task: that which it was begun with.
    acted: a tool has run in it."""

    task: JSON = None
    acted: bool = False


class Hired(Reply, frozen=True, tag="hired"):
    """All that a runner needs to begin or to go on. `journal`: the last `n` of it that the log has."""

    agent: str
    run_id: str
    agent_id: str
    task_id: str
    spec: AgentSpec
    root: str
    host: str
    claims: str
    env: dict[str, str] = {}
    journal: int = 0
    grants: tuple[Granted, ...] = ()
    mail: tuple[Mail, ...] = ()  # follow-ups that were not taken up yet
    status: str = "running"  # paused, stopping: what it was told while it was away
    revoked: tuple[Revocation, ...] = ()  # what a person took from it, the newest last
    earlier: Earlier | None = None  # of the session to be resumed; None: there is none, or nobody here has seen it


class Created(Reply, frozen=True, tag="created"):
    id: str


class Units(Reply, frozen=True, tag="units"):
    """Units, and the log position at which this was so."""

    units: tuple[str, ...]
    position: int = 0


AnyReply = Done | Granted | Queued | Opened | Spawned | Hired | Created | Units
