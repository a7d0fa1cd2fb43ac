"""Runs and their task trees."""

from __future__ import annotations

from typing import Final

from agentlab.errors import BadRequest, NotFound, Refused

from .claims import release_run
from .commands import AnyReply, BeginRun, Created, CreateTask, Done, EndRun, Opened, StartRun, UpdateTask
from .events import JSON, RunBegin, RunEnd, RunStart, TaskCreate, TaskUpdate
from .turn import PLANE, Turn

SCHEDULES: Final = ("arrival", "turns", "recorded")
POLICIES: Final = ("implicit", "explicit")
TASK_STATUSES: Final = ("pending", "running", "blocked", "done", "failed", "cancelled")
ENDINGS: Final = ("done", "failed", "cancelled")


def start(turn: Turn, c: StartRun) -> AnyReply:
    known = turn.state.runs.get(c.run_id)
    if known is not None:
        if known.name == c.name and known.root == c.root:
            return Opened(run_id=c.run_id)
        raise Refused(f"Run id {c.run_id} is taken by {known.name!r}; ids are never used twice.", run=c.run_id)
    if not c.run_id or not c.name.strip() or "/" in c.run_id:
        raise BadRequest("A run needs a name, and an id without '/'.")
    if not c.root.startswith("/"):
        raise BadRequest(f"The workspace must be an absolute path, not {c.root!r}.")
    if c.schedule not in SCHEDULES:
        raise BadRequest(f"{c.schedule!r} is no schedule. Choose one of {', '.join(SCHEDULES)}.")
    if c.schedule == "recorded":
        raise BadRequest("schedule='recorded' needs the run whose order it enforces; replay offers it.")
    if c.claims not in POLICIES:
        raise BadRequest(f"claims={c.claims!r}: choose one of {', '.join(POLICIES)}.")
    body = RunStart(
        name=c.name, root=c.root, host=c.host, schedule=c.schedule, claims=c.claims, auto_end=c.auto_end,
        base_tree=c.base_tree, user=c.user, session_kind=c.session_kind, env=c.env, versions=c.versions,
    )  # fmt: skip
    actor = PLANE if c.run_id == PLANE else f"user:{c.user}"
    turn.emit(c.run_id, actor, body, session_id=c.session_id or None, name=c.name, status="open")
    return Opened(run_id=c.run_id)


def begin(turn: Turn, c: BeginRun) -> AnyReply:
    run = turn.run(c.run_id)
    if run.schedule == "turns" and not run.begun:
        turn.emit(c.run_id, f"user:{run.user}", RunBegin())
    return Done()


def end(turn: Turn, c: EndRun) -> AnyReply:
    run = turn.state.runs.get(c.run_id)
    if run is None:
        raise NotFound(f"There is no run {c.run_id!r}.", run=c.run_id)
    if run.status != "open":
        return Done()
    if c.status not in ENDINGS:
        raise BadRequest(f"A run ends as one of {', '.join(ENDINGS)}, not {c.status!r}.")
    if run.live:
        names = [a.name for a in turn.state.agents.values() if a.run_id == c.run_id and a.ended is None]
        raise Refused(
            f"Run {run.name!r} still has {run.live} live agents ({', '.join(names)}). Wait for them, or stop them first.",
            run=c.run_id, agents=names,
        )  # fmt: skip
    close(turn, c.run_id, c.status, c.reason, c.final_tree)
    return Done()


def close(turn: Turn, run_id: str, status: str, reason: str = "", final_tree: str | None = None) -> None:
    """End a run that has no live agents. People's claims in it are given back."""
    release_run(turn, run_id, "end")
    run = turn.state.runs[run_id]
    turn.emit(
        run_id, f"user:{run.user}" if run.user else PLANE,
        RunEnd(reason=reason, final_tree=final_tree, usage=run.usage),
        name=run.name, status=status, dur_ns=max(0, turn.now.wall - run.started),
    )  # fmt: skip


def create_task(turn: Turn, c: CreateTask) -> AnyReply:
    if c.rid and (made := turn.state.requests.get(c.rid)) is not None:
        return Created(id=made[1])
    run = turn.run(c.run_id)
    if c.owner is not None:
        turn.agent(c.owner)
    body = TaskCreate(goal=c.goal, parent=c.parent, owner=c.owner, input=c.input, rid=c.rid)
    return Created(id=new_task(turn, c.run_id, body, f"user:{run.user}"))


def new_task(turn: Turn, run_id: str, task: TaskCreate, actor: str) -> str:
    """Put a task in the tree; its id."""
    parent, goal = task.parent, task.goal
    if parent is not None and f"{run_id}/{parent}" not in turn.state.tasks:
        raise NotFound(f"There is no task {parent!r} in this run to put a task under.", task=parent)
    task_id = f"t{turn.state.runs[run_id].tasks + 1}"
    turn.emit(
        run_id, actor, task, task_id=task_id, status="pending", name=goal[:80]
    )  # fmt: skip
    return task_id


def update_task(turn: Turn, c: UpdateTask) -> AnyReply:
    run = turn.run(c.run_id)
    task = turn.state.tasks.get(f"{c.run_id}/{c.task_id}")
    if task is None:
        raise NotFound(f"There is no task {c.task_id!r} in run {run.name!r}.", task=c.task_id)
    if c.status not in TASK_STATUSES:
        raise BadRequest(f"{c.status!r} is no task status. Choose one of {', '.join(TASK_STATUSES)}.")
    if task.status in ENDINGS:
        if task.status == c.status:
            return Done()
        raise Refused(f"Task {c.task_id} is {task.status} already; a task ends once.", task=c.task_id)
    move_task(turn, c.run_id, c.task_id, c.status, f"user:{run.user}", c.output, c.artifacts)
    return Done()


def move_task(
    turn: Turn, run_id: str, task_id: str, status: str, actor: str, output: JSON = None,
    artifacts: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Bring a task into a status, unless it is there or has ended."""
    task = turn.state.tasks.get(f"{run_id}/{task_id}")
    if task is None or task.status in ENDINGS or (task.status == status and output is None and not artifacts):
        return
    body = TaskUpdate(was=task.status, output=output, artifacts=artifacts)
    turn.emit(run_id, actor, body, task_id=task_id, status=status, name=task.goal[:80])
