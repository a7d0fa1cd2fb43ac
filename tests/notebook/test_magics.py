from __future__ import annotations

import pandas as pd
import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

import agentlab
from agentlab.client.text import visible
from agentlab.core.events import StateSet
from agentlab.faces.values import Words
from agentlab.notebook.widget import shown
from agentlab.testing.stage import Stage

SAY = '[{"say": "hi"}]'


def agent(ip, line: str, cell: str | None = None):
    return ip.run_line_magic("agent", line) if cell is None else ip.run_cell_magic("agent", line, cell)


def test_spawn_returns_a_handle_at_once_and_stores_it(ip, stage: Stage, capsys: pytest.CaptureFixture) -> None:
    handle = agent(ip, f"spawn script --name a -o mine '{SAY}'")
    assert isinstance(handle, agentlab.AgentHandle)
    assert ip.user_ns["mine"] is handle
    assert (handle.name, handle.status, handle.row()["spec"]["task"]) == ("a", "dispatched", [{"say": "hi"}])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", ["nosuch", "approve nothing", "spawn"])
def test_a_refusal_is_shown_by_what_it_says_and_not_by_the_way_to_it(ip, stage: Stage, line: str) -> None:
    with capture_output() as shown:
        result = ip.run_cell(f"%agent {line}")
    assert isinstance(result.error_in_exec, agentlab.BadRequest)
    said = visible(shown.stdout + shown.stderr).strip().splitlines()
    assert len(said) == 1 and said[0].startswith(f"{type(result.error_in_exec).__name__}: "), said


def test_the_body_of_a_cell_is_the_task_as_it_is_written(ip, stage: Stage) -> None:
    body = "x = {'a': 1}  # $HOME {nothing} is expanded\ntools.write('n.txt', f'{x}')\n"
    handle = agent(ip, "spawn python --name b --claim file:n.txt --claim proc:test", body)
    spec = handle.row()["spec"]
    assert (spec["task"], spec["claims"]) == (body, ["file:n.txt", "proc:test"])
    steps = agent(ip, "spawn script", "- say: hi\n- sleep: 0.1\n").row()["spec"]["task"]
    assert steps == [{"say": "hi"}, {"sleep": 0.1}]


def test_braces_on_the_line_are_not_expanded(ip, stage: Stage) -> None:
    assert agent(ip, 'spawn claude "write {1+1} and $HOME"').row()["spec"]["task"] == "write {1+1} and $HOME"


def test_all_options_reach_the_definition(ip, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "value")
    handle = agent(
        ip,
        "spawn codex do it --name c --ttl 5 --env A=env:KEY --env B=x=y --model m --boundary native --priority background "
        "--role reviewer --tool read --shared --claim dir:src --option max_turns=3 --option effort=high",
    )
    spec = handle.row()["spec"]
    assert spec["task"] == "do it"
    assert (spec["model"], spec["boundary"], spec["priority"], spec["ttl"]) == ("m", "native", "background", 5.0)
    assert (spec["role"], spec["tools"], spec["claims_mode"]) == ("reviewer", ["read"], "S")
    assert spec["env"] == {"A": "env:KEY", "B": "literal:***"}
    assert spec["options"] == {"max_turns": 3, "effort": "high"}


@pytest.mark.parametrize("kind", ["acp", "cli"])
def test_a_program_is_named_by_its_command(ip, stage: Stage, kind: str) -> None:
    handle = agent(ip, f"spawn {kind} --command 'my-agent --acp' --boundary native --option mode=ask do it")
    spec = handle.row()["spec"]
    assert spec["options"] == {"command": "my-agent --acp", "mode": "ask"}
    assert (spec["boundary"], spec["task"]) == ("native", "do it")


def test_the_boundary_is_tools_where_nobody_says_another(ip, stage: Stage) -> None:
    assert agent(ip, f"spawn script '{SAY}'").row()["boundary"] == "tools"


def test_a_profile_s_boundary_counts_where_none_is_asked_for(ip, stage: Stage) -> None:
    (stage.home / "config.toml").write_text('[agents.mine]\ncommand = ["my-agent"]\nboundary = "native"\n')
    assert agent(ip, "spawn mine 'do it'").row()["boundary"] == "native"
    with pytest.raises(agentlab.BadRequest, match="says boundary = 'native', not 'tools'"):
        agent(ip, "spawn mine --boundary tools 'do it'")
    with pytest.raises(agentlab.BadRequest, match="says command already"):
        agent(ip, "spawn mine --command other 'do it'")


def test_the_kernel_s_agents_share_a_run_named_after_the_notebook(
    ip, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/My analysis.ipynb")
    first, second = agent(ip, f"spawn script '{SAY}'"), agent(ip, f"spawn script '{SAY}'")
    assert first.run_id == second.run_id
    assert first.run.name == "My-analysis"
    first.run.end(stop=True)
    third = agent(ip, f"spawn script '{SAY}'")
    assert third.run_id != first.run_id


def test_a_named_run_is_found_or_opened_and_keeps_its_folder(ip, stage: Stage, tmp_path) -> None:
    first = agent(ip, f"spawn script --run refactor '{SAY}'")
    second = agent(ip, f"spawn script --run refactor '{SAY}'")
    assert first.run_id == second.run_id and first.run.name == "refactor"
    (tmp_path / "other").mkdir()
    with pytest.raises(agentlab.BadRequest, match="leave the workdir out"):
        agent(ip, f"spawn script --run refactor --workdir {tmp_path / 'other'} '{SAY}'")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("spwan script x", "no command 'spwan'. Did you mean spawn"),
        ("spawn scrpt x", "no agents of kind 'scrpt'. There are: .*claude.*python, script"),
        ("spawn script --nmae a x", "no option --nmae. Did you mean --name"),
        ("spawn script --ttl soon x", "'soon' is not a valid float"),
        ("spawn script --env novalue x", "--env wants KEY=VALUE"),
        ("spawn script --workdir /no/such x", "does not exist"),
        ("spawn", "Missing argument 'KIND'"),
        ("spawn acp --command x --option command=y z", "are the same. Say one"),
        ("spawn codex --command x y", "for agents of kind acp and cli; .* --option cli=PATH"),
        ("spawn script --command x y", "this one has no program"),
        ("spawn acp --command my-agent do it", "nobody has said how .* --boundary native"),
        ("spawn cli --command my-agent do it", "cannot have boundary='tools'; it has native. .* --boundary native"),
        ("spawn python --boundary native do it", "it has tools"),
        ("spawn script", "wants steps"),
        ("spawn script -o 3x '[]'", "name of a variable"),
        ("spawn claude don't", "apostrophe"),
        ("logs nobody", "no agent 'nobody'"),
        ("wait nobody", "no agent 'nobody'"),
        ("stop", "Stop whom"),
        ("claim a.txt", "kind:name"),
        ("claim file:../x", "leads out of the workspace"),
        ("events nothing", "no run 'nothing'"),
        ("send", "Missing argument"),
    ],
)
def test_mistakes_are_ordinary_exceptions_that_say_what_exists(ip, line: str, says: str) -> None:
    with pytest.raises(agentlab.AgentlabError, match=says) as caught:
        agent(ip, line)
    assert not isinstance(caught.value, UsageError)


def test_two_tasks_are_one_too_many(ip, stage: Stage) -> None:
    with pytest.raises(agentlab.BadRequest, match="on the line and one in the cell"):
        agent(ip, "spawn claude 'one task'", "another")


def test_a_failing_magic_fails_its_cell(ip, stage: Stage) -> None:
    result = ip.run_cell("%agent spawn scrpt x", silent=True)
    assert isinstance(result.error_in_exec, agentlab.BadRequest)


def test_the_magic_alone_and_help_are_values_and_print_nothing(ip, capsys: pytest.CaptureFixture) -> None:
    for line, word in (
        ("", "Commands:"),
        ("--help", "Commands:"),
        ("help", "Commands:"),
        ("spawn --help", "--claim"),
        ("ps -h", "--all"),
    ):
        shown = agent(ip, line)
        assert isinstance(shown, Words) and word in str(shown)
        assert "%agent" in str(shown)
    assert capsys.readouterr() == ("", "")


def test_ps_and_locks_are_frames_that_show_who_waits_for_whom(ip, stage: Stage, capsys: pytest.CaptureFixture) -> None:
    first, second = (agent(ip, f"spawn script --name {name} '{SAY}'") for name in "ab")
    stage.puppet(first.key).claims("file:a.txt")
    stage.puppet(second.key).claims("file:a.txt")
    for line in ("ps", "locks"):
        frame = agent(ip, line)
        assert isinstance(frame, pd.DataFrame) and len(frame) == 2
        assert "waits for file:a.txt · held by a · 1st" in frame._repr_html_()
        assert "waits for file:a.txt · held by a" in " ".join(repr(frame).split())
    assert agent(ip, "ps").set_index("name").loc["b", "status"] == "waiting"
    assert "lease" in agent(ip, "locks")._repr_html_()
    assert type(agent(ip, "ps")[["name"]]) is pd.DataFrame
    assert capsys.readouterr() == ("", "")


def test_what_holds_an_agent_is_said_where_it_is_less(ip, stage: Stage) -> None:
    held = agent(ip, f"spawn script --name held '{SAY}'")
    stage.puppet(held.key).report(StateSet(store="sandbox", key=held.key, after="bubblewrap"))
    assert (held.boundary, held.sandbox) == ("tools", "bubblewrap")
    assert "bounds" not in agent(ip, "ps")._repr_html_()
    loose = agent(ip, "spawn cli --name loose --boundary native --command my-agent 'do it'")
    stage.puppet(loose.key).report(StateSet(store="sandbox", key=loose.key, after="none"))
    assert (loose.boundary, loose.sandbox) == ("native", "none")
    said = "native (weaker) · no sandbox"
    bundle = loose._repr_mimebundle_()
    for text in (repr(loose), bundle["text/plain"], bundle["text/html"], agent(ip, "ps")._repr_html_()):
        assert said in text
    assert shown(loose.row())["bounds"] == said
    assert shown(held.row())["bounds"] == "" and "sandbox" not in repr(held)


def test_a_frame_that_was_changed_shows_what_it_is_now(ip, stage: Stage) -> None:
    agent(ip, f"spawn script --name a '{SAY}'")
    frame = agent(ip, "ps")
    assert "holds" in frame._repr_html_() and "vendor_session" not in repr(frame)
    frame["mine"] = "changed"
    assert "changed" in frame.to_string() and "dataframe" in frame._repr_html_()


def test_agents_are_steered_by_name(ip, stage: Stage) -> None:
    handle = agent(ip, f"spawn script --name a '{SAY}'")
    puppet = stage.puppet(handle.key)
    assert str(agent(ip, "pause a")) == "paused a"
    assert handle.status == "paused"
    agent(ip, "resume a")
    agent(ip, "send a more of that")
    agent(ip, "send a", "a whole\ncell")
    assert [mail["text"] for mail in handle.row()["mail"]] == ["more of that", "a whole\ncell"]
    puppet.says("hello")
    assert "assistant: hello" in str(agent(ip, "logs a"))
    agent(ip, "stop a --now")
    waited = agent(ip, "wait a --timeout 20")
    assert waited["status"].tolist() == ["cancelled"]
    assert agent(ip, "ps").empty
    assert len(agent(ip, "ps --all")) == 1


def test_a_wait_that_ends_too_early_raises(ip, stage: Stage) -> None:
    stage.puppet(agent(ip, f"spawn script --name a '{SAY}'").key)
    with pytest.raises(agentlab.AgentTimeout):
        agent(ip, "wait a --timeout 0.05")


def test_a_person_s_claim_is_a_value_that_is_released_by_it_or_by_the_magic(ip, stage: Stage) -> None:
    hold = agent(ip, "claim file:a.txt --shared -o mine")
    assert isinstance(hold, agentlab.Hold) and ip.user_ns["mine"].held
    assert agent(ip, "locks")["mode"].tolist() == ["S"]
    agent(ip, f"release {hold.ticket}")
    assert agent(ip, "locks").empty


def test_questions_are_answered(ip, stage: Stage) -> None:
    handle = agent(ip, f"spawn script --name a '{SAY}'")
    stage.puppet(handle.key).asks("q1", "May I?").asks("q2", "Which?")
    assert agent(ip, "approvals")["approval"].tolist() == ["q1", "q2"]
    agent(ip, "deny q1 not now")
    agent(ip, "answer q2 the second one")
    stage.puppet(handle.key).asks("q-long-1", "One?").asks("q-long-2", "Two?")
    with pytest.raises(agentlab.BadRequest, match="several open questions: q-long-1, q-long-2"):
        agent(ip, "approve q-long")
    agent(ip, "deny q-long-1 --reason later")
    agent(ip, "approve q-l")
    assert agent(ip, "approvals").empty
    assert agent(ip, "approvals --all")["answer"].tolist() == ["not now", "the second one", "later", ""]


def test_an_operator_revokes_a_ticket_and_is_told_what_that_breaks(ip, stage: Stage) -> None:
    hold = agent(ip, "claim file:a.txt")
    said = str(agent(ip, f"revoke {hold.ticket} --reason mine"))
    assert f"revoked ticket {hold.ticket} (file:a.txt of user:" in said
    assert agent(ip, "locks").empty
    with pytest.raises(agentlab.NotFound, match="does not wait"):
        agent(ip, f"bump {hold.ticket}")


def test_runtimes_and_doctor_show_what_is_there(ip, stage: Stage) -> None:
    assert "claude 1.0: too old" in repr(agent(ip, "runtimes"))
    assert {"client", "plane"} <= set(agent(ip, "doctor")["check"])


def test_loading_twice_and_unloading_leave_one_and_none(ip, stage: Stage) -> None:
    import agentlab as package

    package.load_ipython_extension(ip)
    matchers = [m for m in ip.Completer.custom_matchers if getattr(m, "__name__", "") == "agentlab_matcher"]
    assert len(matchers) == 1
    package.unload_ipython_extension(ip)
    assert ip.find_line_magic("agent") is None
    package.load_ipython_extension(ip)
