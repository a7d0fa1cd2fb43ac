from __future__ import annotations

import asyncio
import json
import multiprocessing
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import agentlab
from agentlab.client import doctor
from agentlab.client.lab import Lab
from agentlab.testing.stage import Stage

STEPS = [{"say": "hi"}]


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Look again and again: what is waited for here happens on other threads."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


# --- connecting ------------------------------------------------------------------------------------------------


def test_without_a_plane_and_without_leave_to_start_one_connecting_says_how_to_get_one(home: Path) -> None:
    with pytest.raises(agentlab.PlaneUnavailable, match="agentlab daemon start"):
        agentlab.connect(start=False)


def test_an_address_counts_more_than_the_environment_and_the_environment_more_than_the_home(
    stage: Stage, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = stage.plane.server.address
    monkeypatch.setenv("AGENTLAB_URL", f"unix:{tmp_path}/nobody")
    with pytest.raises(agentlab.AgentlabError, match="No token for"):
        agentlab.connect()
    with agentlab.connect(url=address, home=home) as lab:
        assert lab.state()["tables"]["runtimes"]
    monkeypatch.setenv("AGENTLAB_URL", address)
    monkeypatch.setenv("AGENTLAB_TOKEN", stage.plane.token)
    with agentlab.connect() as lab:
        assert lab.state()["tables"]["runtimes"]


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "unix:", "ws:x"])
def test_an_address_that_is_none_is_refused(home: Path, url: str) -> None:
    with pytest.raises(agentlab.BadRequest, match="no address of a plane"):
        agentlab.connect(url=url)


def test_a_wrong_token_is_refused(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTLAB_TOKEN", "guess")
    with pytest.raises(agentlab.Forbidden):
        agentlab.connect(url=stage.plane.server.address)


def test_a_closed_lab_says_so(lab: Lab) -> None:
    lab.close()
    with pytest.raises(agentlab.PlaneUnavailable, match="was closed"):
        lab.state()


# --- runs and agents -------------------------------------------------------------------------------------------


def test_a_run_ends_when_its_block_ends_after_its_agents(lab: Lab, stage: Stage) -> None:
    def act() -> None:
        stage.puppet(agent.key).finishes(output="ok")

    with lab.run("refactor") as run:
        agent = run.spawn("script", name="a", steps=STEPS)
        acting = threading.Thread(target=act)
        acting.start()
    acting.join()
    assert run.status == "done"
    assert agent.result == agentlab.Result("done", "ok")


def leave(run: agentlab.Run, agent_on: Stage, error: BaseException) -> agentlab.AgentHandle:
    """Spawn an agent in the block of a run, and leave the block by an exception."""
    with run:
        agent = run.spawn("script", name="a", steps=STEPS)
        agent_on.puppet(agent.key)
        raise error


def test_an_exception_in_the_block_stops_the_agents_and_fails_the_run(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    with pytest.raises(ZeroDivisionError):
        leave(run, stage, ZeroDivisionError())
    assert (run.status, lab.agent("a").status) == ("failed", "cancelled")
    assert "ZeroDivisionError" in run._row(run._now())["reason"]


def test_ctrl_c_in_the_block_leaves_the_agents_and_the_run_alone(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    with pytest.raises(KeyboardInterrupt):
        leave(run, stage, KeyboardInterrupt())
    assert (run.status, lab.agent("a").status) == ("open", "running")


def test_a_run_with_a_failed_agent_has_failed(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    stage.puppet(run.spawn("script", name="a", steps=STEPS).key).finishes("failed", error="boom")
    stage.puppet(run.spawn("script", name="b", steps=STEPS).key).finishes()
    assert {name: result.status for name, result in run.wait(20).items()} == {"a": "failed", "b": "done"}
    run.end()
    run.end()
    assert run.status == "failed"
    with pytest.raises(agentlab.AgentFailed, match="boom"):
        lab.agent("a").wait().check()


def test_a_run_with_live_agents_is_not_ended_unless_they_may_be_stopped(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    agent = run.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key)
    with pytest.raises(agentlab.Refused, match="live agents"):
        run.end()
    run.end(stop=True)
    assert agent.status == "cancelled"


def test_the_agents_of_a_turns_run_go_when_they_are_waited_for(lab: Lab, stage: Stage) -> None:
    run = lab.run("ordered", schedule="turns")
    agent = run.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).finishes()
    assert not run._row(run._now())["begun"]
    assert agent.wait(20).ok
    assert run._row(run._now())["begun"]


def test_a_spawn_of_its_own_has_a_run_that_ends_with_it(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="solo", steps=STEPS)
    stage.puppet(agent.key).finishes()
    assert agent.run.name == "solo"
    until(lambda: agent.run.status == "done")


def test_a_spawn_that_is_refused_leaves_no_open_run(lab: Lab, stage: Stage) -> None:
    for kind, given in (
        ("scrpt", {"steps": STEPS}),
        ("script", {}),
        ("script", {"steps": STEPS, "env": {"A": "env:NOPE_"}}),
        ("script", {"steps": STEPS, "boundary": "native"}),
        ("cli", {"task": "x", "options": {"command": "my-agent"}}),
        ("acp", {"task": "x", "options": {"command": "my-agent"}}),
    ):
        with pytest.raises(agentlab.BadRequest):
            lab.spawn(kind, **given)
    assert [row["name"] for row in lab.state()["tables"]["runs"].values() if row["status"] == "open"] == ["plane"]


def test_an_unknown_kind_says_which_there_are(lab: Lab) -> None:
    with pytest.raises(agentlab.BadRequest, match=r"claude, .*python, script") as caught:
        lab.run("x").spawn("cursor", "do it")
    assert "agentlab.drivers" in str(caught.value)


def test_a_live_name_is_taken_and_an_ended_one_is_free(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    first = run.spawn("script", name="a", steps=STEPS)
    with pytest.raises(agentlab.NameTaken):
        run.spawn("script", name="a", steps=STEPS)
    stage.puppet(first.key).finishes()
    second = run.spawn("script", name="a", steps=STEPS)
    assert second.key != first.key and second.name == "a"
    assert lab.agent("a").key == second.key


def test_a_missing_workdir_is_refused_before_anything_is_sent(lab: Lab) -> None:
    with pytest.raises(agentlab.BadRequest, match="does not exist"):
        lab.run("refactor", workdir="no/such")
    assert list(lab.state()["tables"]["runs"]) == ["plane"]


def test_secrets_reach_the_runner_and_nothing_else(lab: Lab, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    agent = lab.spawn("script", name="a", steps=STEPS, env={"TOKEN": "env:MY_TOKEN", "OTHER": "s3cret-literal"})
    stage.puppet(agent.key)
    assert stage.runtime.launches[agent.key].secrets == {"TOKEN": "s3cret-value", "OTHER": "s3cret-literal"}
    assert "s3cret" not in str(lab.state())
    stage.stop()
    assert not any(b"s3cret" in path.read_bytes() for path in stage.home.rglob("*") if path.is_file())


# --- handles ---------------------------------------------------------------------------------------------------


def test_a_wait_that_ends_too_early_leaves_the_agent_alone(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key)
    with pytest.raises(agentlab.AgentTimeout, match="It goes on"):
        agent.wait(timeout=0.05)
    with pytest.raises(TimeoutError):
        agent.wait(0)
    assert agent.status == "running"
    puppet.finishes()
    assert agent.wait(20).ok


async def test_a_handle_can_be_awaited_in_any_event_loop(lab: Lab, stage: Stage) -> None:
    agent = await asyncio.to_thread(lab.spawn, "script", name="a", steps=STEPS)
    waiting = asyncio.ensure_future(_result(agent))
    puppet = await asyncio.to_thread(stage.puppet, agent.key)
    await asyncio.to_thread(puppet.finishes, output=42)
    assert (await asyncio.wait_for(waiting, 20)).output == 42


async def _result(agent: agentlab.AgentHandle) -> agentlab.Result:
    return await agent


def test_a_waiting_agent_says_for_what_and_behind_whom(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    first, second = (run.spawn("script", name=name, steps=STEPS) for name in "ab")
    stage.puppet(first.key).claims("file:a.txt")
    stage.puppet(second.key).claims("file:a.txt")
    assert first.claims == ("file:a.txt",)
    assert second.status == "waiting"
    assert second.waits == "waits for file:a.txt · held by a · 1st"
    assert "waiting · waits for file:a.txt · held by a" in repr(second)
    waiting = lab.locks().set_index("status").loc["waiting"]
    assert (waiting["owner"], waiting["behind"]) == (second.key, "waits for file:a.txt · held by a · 1st")
    assert lab.agents().set_index("name").loc["b", "waits"] == second.waits
    first.pause()
    assert second.waits == "waits for file:a.txt · held by a (paused) · 1st"
    first.resume()
    assert second.waits == "waits for file:a.txt · held by a · 1st"


def test_stop_ends_an_agent_and_of_an_ended_one_is_no_error(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key)
    agent.stop()
    assert agent.wait(20).status == "cancelled"
    agent.stop()
    agent.stop(now=True)


def test_pause_and_resume_are_states_and_a_second_resume_says_why_not(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key)
    agent.pause()
    assert agent.status == "paused"
    agent.resume()
    assert agent.status == "running"
    with pytest.raises(agentlab.Refused, match="not paused"):
        agent.resume()


def test_a_follow_up_waits_in_the_agent_s_mail(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key)
    agent.send("and then?", interrupt=True)
    assert [(mail["text"], mail["interrupt"]) for mail in agent.row()["mail"]] == [("and then?", True)]


def test_logs_are_what_was_said_with_nothing_that_a_terminal_obeys(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).says("\x1b[31mone").says("two\u202e").finishes()
    assert [line.split(" ", 1)[1] for line in agent.logs().splitlines()] == [
        "assistant: one",
        "assistant: two\\u202e",
        "done",
    ]
    assert agent.logs(tail=1).endswith("done")


def test_logs_end_with_the_last_words_of_a_program_that_died(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).finishes("failed", error="It is gone.", last_lines="loading\nsettings.json is corrupt\n")
    agent.wait(20)
    said = [row.partition(" ")[2] for row in str(agent.logs()).splitlines()]
    assert said[-4:] == ["failed: It is gone.", "Its program's last lines:", "loading", "settings.json is corrupt"]


def test_what_an_error_says_already_is_not_said_again_as_last_lines(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).finishes("failed", error="It is gone.\nloading", last_lines="loading\n")
    agent.wait(20)
    assert str(agent.logs()).count("loading") == 1


def test_what_to_do_about_a_failure_is_not_cut(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).finishes("failed", error="It is gone for this reason. " * 8 + "Log in with `x login`.")
    agent.wait(20)
    assert "Log in with `x login`." in repr(agent)


def test_followed_logs_come_as_they_are_said_and_end_with_the_agent(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key).says("one").says("two")
    lines = agent.logs(follow=True, tail=1)
    assert next(lines).endswith("two")
    puppet.says("three")
    assert next(lines).endswith("three")
    puppet.finishes()
    assert [line.split(" ", 1)[1] for line in lines] == ["done"]
    assert [line.split(" ", 1)[1] for line in agent.logs(follow=True)][:2] == ["assistant: one", "assistant: two"]


def test_a_name_that_nobody_has_lists_those_there_are(lab: Lab, stage: Stage) -> None:
    lab.spawn("script", name="a", steps=STEPS)
    with pytest.raises(agentlab.NotFound, match=r"no agent 'b'(?s:.)*a \(script\)"):
        lab.agent("b")
    with pytest.raises(LookupError):
        lab.agent("nowhere/a")


def test_a_name_that_two_live_agents_have_is_not_guessed(lab: Lab, stage: Stage) -> None:
    keys = {name: lab.run(name).spawn("script", name="a", steps=STEPS).key for name in ("one", "two")}
    with pytest.raises(
        agentlab.BadRequest, match=r"2 agents that live are called 'a'\. Say which: (one/a, two|two/a, one)/a\."
    ):
        lab.agent("a")
    assert lab.agent("one/a").key == keys["one"]
    stage.puppet(keys["one"]).finishes()
    assert lab.agent("a").key == keys["two"]


def test_an_agent_of_a_run_that_the_plane_has_let_go_is_still_there(lab: Lab, stage: Stage) -> None:
    run = lab.run("old")
    agent = run.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).finishes(output="kept")
    agent.wait(20)
    run.end()
    stage.stop()
    stage.start()
    again = lab.agent(f"{run.run_id}/a")
    assert again.result.output == "kept"
    assert again.run.status == "done"
    assert again.run.wait() == {"a": again.result}


def test_an_agent_is_found_by_its_name_alone_when_the_plane_has_let_its_run_go(lab: Lab, stage: Stage) -> None:
    for output in ("first", "second"):
        agent = lab.spawn("script", name="a", steps=STEPS)
        stage.puppet(agent.key).finishes(output=output)
        agent.wait(20)
    stage.stop()
    stage.start()
    assert lab.agent("a").result.output == "second"
    with pytest.raises(agentlab.NotFound, match="no agent 'b'"):
        lab.agent("b")


def test_the_repr_of_a_handle_never_raises(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    lab.close()
    assert repr(agent).startswith("<Agent a (script) · unknown: ")
    assert "unknown" in repr(agent._run)


def test_a_handle_and_a_run_show_themselves_as_text_and_static_html(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    agent = run.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key)
    puppet.calls("write", "file:<b>")
    for shown in (agent._repr_mimebundle_(), run._repr_mimebundle_()):
        assert set(shown) == {"text/plain", "text/html"}
        assert "write file:&lt;b&gt;" in shown["text/html"]
        assert "<b>" not in shown["text/html"]


# --- a plane that comes and goes -------------------------------------------------------------------------------


def test_handles_and_waits_survive_a_restart_of_the_plane(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key)
    results: list[agentlab.Result] = []
    waiting = threading.Thread(target=lambda: results.append(agent.wait(60)))
    waiting.start()
    stage.stop()
    stage.start()
    assert agent.status == "running"
    stage.submit_finish(puppet.agent)
    waiting.join(60)
    assert [result.status for result in results] == ["done"]


def test_a_request_whose_answer_was_lost_happens_once(lab: Lab, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run = lab.run("refactor")
    engine = stage.plane.engine
    post, lost = engine.post, []

    def lossy(command, answered):
        if type(command).__name__ == "Spawn" and not lost:
            lost.append(command)
            post(command, lambda reply: [peer.close() for peer in stage.plane.handler.peers])
        else:
            post(command, answered)

    monkeypatch.setattr(engine, "post", lossy)
    agent = run.spawn("script", steps=STEPS)
    assert lost
    assert [each.key for each in run.agents] == [agent.key]


def test_a_wait_under_way_does_not_start_again_a_plane_that_was_stopped_on_purpose(
    stage: Stage, workspace: Path
) -> None:
    from agentlab import discovery

    with agentlab.connect() as lab:
        agent = lab.spawn("script", name="a", steps=STEPS)
        stage.puppet(agent.key)
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                agent.wait(60)
            except agentlab.PlaneUnavailable as error:
                errors.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        until(lambda: stage.plane.handler._ends)
        discovery.mark_stopped(stage.home)
        stage.stop()
        waiting.join(60)
        assert len(errors) == 1 and "No plane runs" in str(errors[0])
        assert discovery.read(stage.home) is None


def test_a_live_view_goes_on_after_a_restart(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    seen: list[str] = []
    unlisten = lab._feed.listen("agents", agent.key, lambda row: seen.append(row["status"] if row else "gone"))
    stage.puppet(agent.key)
    until(lambda: "running" in seen)
    stage.stop()
    stage.start()
    lab.state()
    stage.submit_finish(agent.key)
    until(lambda: seen[-1] == "done")
    unlisten()
    until(lambda: lab._feed._task is None)


def test_a_lock_says_when_its_lease_ends_unless_it_is_renewed(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    other = lab.spawn("script", name="b", steps=STEPS)
    before = time.time_ns()
    for each in (agent, other):
        stage.puppet(each.key).claims("file:a.txt")
    held, waits = sorted(lab.state()["tables"]["locks"].values(), key=lambda row: row["ticket"])
    assert before < held["expires"] <= time.time_ns() + held["ttl"] * 1e9
    assert waits["expires"] is None


def test_who_watches_hears_when_the_rows_are_lost_and_when_they_are_back(
    lab: Lab, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[float | None] = []
    unwatch = lab._feed.watch(lambda tables, lost: told.append(lost))
    until(lambda: told)
    assert told[-1] is None
    before = time.time()
    stage.stop()
    until(lambda: told[-1] is not None)
    assert before <= told[-1] <= time.time()
    late: list[float | None] = []
    stop = lab._feed.watch(lambda tables, lost: late.append(lost))
    until(lambda: late)
    assert late == [told[-1]], "who comes later is told of when the rows are"
    stop()
    stage.start()
    until(lambda: told[-1] is None)

    async def refuses(*, start: bool = True) -> object:
        raise agentlab.errors.VersionMismatch("another version")

    with monkeypatch.context() as other:
        other.setattr(lab._feed._connection, "link", refuses)
        stage.stop()
        stage.start()
        until(lambda: told[-1] is not None)
        until(lambda: "another version" in caplog.text)
    until(lambda: told[-1] is None)
    unwatch()


def test_one_live_view_that_fails_does_not_stop_the_others(
    lab: Lab, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    seen: list[object] = []
    stops = [
        lab._feed.listen("agents", agent.key, lambda row: 1 / 0),
        lab._feed.listen("agents", agent.key, seen.append),
    ]
    until(lambda: seen)
    for stop in stops:
        stop()
    assert "A live view failed" in caplog.text


def _status_in_child(agent: agentlab.AgentHandle, out) -> None:
    out.send(agent.status)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_handle_works_in_a_forked_child_over_a_link_of_its_own(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key)
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_status_in_child, args=(agent, send))
    child.start()
    assert receive.poll(30)
    assert receive.recv() == "running"
    child.join(30)
    assert child.exitcode == 0
    assert agent.status == "running"


# --- a person's own part ---------------------------------------------------------------------------------------


def test_a_person_s_claim_holds_agents_off_until_it_is_released(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    agent = run.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key)
    with lab.claim("file:./a.txt") as hold:
        assert hold.units == ("file:a.txt",) and hold.held
        puppet.claims("file:a.txt")
        assert agent.waits == f"waits for file:a.txt · held by user:{lab.user} · 1st"
    assert not hold.held
    assert agent.claims == ("file:a.txt",)
    hold.release()
    assert [r["name"] for r in lab.state()["tables"]["runs"].values() if r["status"] == "open"] == ["plane", "refactor"]


def test_a_claim_that_is_not_granted_in_time_leaves_the_queue(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    stage.puppet(run.spawn("script", name="a", steps=STEPS).key).claims("dir:.")
    with pytest.raises(agentlab.NotHeld, match=r"held by a · 1st"):
        lab.claim("file:a.txt", timeout=0.05)
    with pytest.raises(agentlab.WouldBlock):
        lab.claim("file:a.txt", wait=False)
    assert len(lab.locks()) == 1


def test_a_claim_waits_for_its_turn(lab: Lab, stage: Stage) -> None:
    run = lab.run("refactor")
    puppet = stage.puppet(run.spawn("script", name="a", steps=STEPS).key)
    puppet.claims("file:a.txt")
    holds: list[agentlab.Hold] = []
    waiting = threading.Thread(target=lambda: holds.append(lab.claim("file:a.txt", run=run)))
    waiting.start()
    until(lambda: "waiting" in set(lab.locks()["status"]))
    puppet.finishes()
    waiting.join(30)
    assert holds[0].held
    holds[0].release()


def test_a_lease_that_was_lost_is_noticed(lab: Lab) -> None:
    hold = lab.claim("file:a.txt", ttl=0.3)
    lab.release(hold.ticket)
    until(lambda: not hold.held)


def test_a_question_is_answered_once(lab: Lab, stage: Stage) -> None:
    agent = lab.spawn("script", name="a", steps=STEPS)
    stage.puppet(agent.key).asks("q1", "May I?")
    assert lab.approvals()[["approval", "question", "status"]].values.tolist() == [["q1", "May I?", "asked"]]
    lab.approve("q1", "go on")
    assert lab.approvals()["status"].tolist() == ["approved"]
    with pytest.raises(agentlab.Refused):
        lab.deny("q1")


def test_frames_of_nothing_have_the_same_types_as_frames_of_something(lab: Lab, stage: Stage) -> None:
    empty = {table: getattr(lab, table)().dtypes for table in ("agents", "locks", "approvals")}
    run = lab.run("refactor")
    puppet = stage.puppet(run.spawn("script", name="a", steps=STEPS).key)
    puppet.claims("file:a.txt")
    puppet.asks("q1", "May I?")
    for table, dtypes in empty.items():
        frame = getattr(lab, table)()
        assert len(frame) == 1
        assert list(frame.dtypes.index) == list(dtypes.index)
        assert {n: str(t).split("[")[0] for n, t in frame.dtypes.items()} == {
            n: str(t).split("[")[0] for n, t in dtypes.items()
        }


def test_the_doctor_tells_what_the_client_and_the_plane_see(lab: Lab) -> None:
    frame = lab.doctor()
    assert list(frame.columns) == ["check", "verdict", "detail", "fix"]
    assert {"client", "home", "plane", "program claude"} <= set(frame["check"])


def test_a_lab_that_nobody_holds_lets_go_of_the_plane(stage: Stage, workspace: Path) -> None:
    import gc

    lab = agentlab.connect(start=False)
    agent = lab.spawn("script", name="a", steps=STEPS)
    lines = lab.agent("a").logs(follow=True)
    stage.puppet(agent.key).says("kept alive by what uses it")
    del lab, agent
    gc.collect()
    assert next(lines).endswith("kept alive by what uses it")
    del lines
    until(lambda: (gc.collect(), not stage.plane.handler.peers)[1])


def test_an_unknown_option_is_refused_with_those_there_are(lab: Lab) -> None:
    with pytest.raises(agentlab.BadRequest, match=r"no option modle.*model"):
        lab.spawn("script", steps=STEPS, modle="x")


def test_an_answer_that_comes_late_and_is_lost_is_asked_for_again(
    lab: Lab, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the wait was before: patience begins when the link is lost."""
    from agentlab.client import connection

    agent = lab.spawn("script", name="a", steps=STEPS)
    puppet = stage.puppet(agent.key)
    clock = [0.0]
    monkeypatch.setattr(connection, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    results: list[agentlab.Result] = []
    waiting = threading.Thread(target=lambda: results.append(agent.wait(60)))
    waiting.start()
    until(lambda: stage.plane.handler._ends)
    clock[0] += 10 * connection.PATIENCE
    stage.call(_cut(stage))
    puppet.finishes()
    waiting.join(60)
    assert [result.status for result in results] == ["done"]


async def _cut(stage: Stage) -> None:
    for peer in list(stage.plane.handler.peers):
        peer.close()


def test_releasing_a_claim_of_another_process_ends_the_run_that_was_opened_for_it(lab: Lab) -> None:
    with agentlab.connect() as other:
        hold = other.claim("file:a.txt", renew=False)
        kept = other.claim("file:b.txt", renew=False)
    lab.release(hold.ticket)
    rows = lab.state()["tables"]["runs"]
    assert (rows[hold.run_id]["status"], rows[kept.run_id]["status"]) == ("done", "open")
    lab.release()
    assert lab.state()["tables"]["runs"][kept.run_id]["status"] == "done"


def test_doctor_says_which_program_an_entry_of_a_registry_lacks(
    stage: Stage, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"id": "x", "distribution": {"uvx": {"package": "some-agent"}}}
    (stage.home / "registry.json").write_text(json.dumps({"agents": [entry]}))
    (stage.home / "config.toml").write_text(
        '[agents.mine]\nregistry = "registry.json"\nid = "x"\nboundary = "native"\n'
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = [c for c in doctor.checks(lambda: lab) if c.check == "profile mine"]
    assert (check.verdict, check.fix) == ("warn", "install it, or change [agents.mine]")
    assert "'uvx'" in check.detail
    (tmp_path / "uvx").touch(mode=0o755)
    (check,) = [c for c in doctor.checks(lambda: lab) if c.check == "profile mine"]
    assert check.verdict == "ok"


def test_doctor_says_what_is_wrong_with_a_profile(stage: Stage, lab: Lab) -> None:
    (stage.home / "config.toml").write_text('[agents.mine]\nkind = "codex"\nargs = ["--fast"]\n')
    (check,) = [c for c in doctor.checks(lambda: lab) if c.check == "profile mine"]
    assert check.verdict == "fail" and "of kind 'codex' has no args" in check.detail
