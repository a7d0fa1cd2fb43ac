"""One table, two faces."""

from __future__ import annotations

import os
import subprocess
import sys

import click
import pytest

from agentlab import cli
from agentlab.client.rows import ICONS
from agentlab.errors import BadRequest, NotFound
from agentlab.faces.verbs import VERBS
from agentlab.notebook import magics
from agentlab.notebook.widget import shown
from agentlab.testing.stage import Stage

EVIL = "<img src=x onerror=alert(1)>\x1b[31m\u202e"


def test_both_faces_have_the_same_commands_options_and_help() -> None:
    shell, notebook = cli.build(), magics.table()
    assert set(shell.commands) == {*notebook.commands, "daemon"} == {*(verb.name for verb in VERBS), "daemon"}
    for verb in VERBS:
        own = [param.name for param in verb.params]
        assert [p.name for p in shell.commands[verb.name].params][: len(own)] == own
        assert [p.name for p in notebook.commands[verb.name].params][: len(own)] == own
        assert verb.help and verb.help == shell.commands[verb.name].help == notebook.commands[verb.name].help


def test_every_option_has_a_help() -> None:
    missing = [(v.name, p.name) for v in VERBS for p in v.params if isinstance(p, click.Option) and not p.help]
    assert missing == []


def test_every_status_has_a_sign_beside_its_word() -> None:
    from agentlab.core.rows import ENDED, LIVE

    assert set(ICONS) == LIVE | ENDED | {"waiting"}
    assert len({*ICONS.values()}) >= len(ICONS) - 1  # queued and dispatched are one to people


def test_what_an_agent_says_is_text_in_frames_widgets_and_html(ip, stage: Stage) -> None:
    handle = ip.run_line_magic("agent", """spawn script --name a '[{"say": "hi"}]'""")
    puppet = stage.puppet(handle.key).asks("q1", EVIL).says(EVIL)
    puppet.finishes("failed", error=EVIL)
    made = [
        ip.run_line_magic("agent", "ps --all")._repr_html_(),
        ip.run_line_magic("agent", "approvals --all")._repr_html_(),
        ip.run_line_magic("agent", "logs a")._repr_html_(),
        handle._repr_mimebundle_()["text/html"],
        handle.run._repr_mimebundle_()["text/html"],
    ]
    for text in made:
        assert "onerror" in text and "<img src=" not in text
        assert "\x1b" not in text and "\u202e" not in text
    for text in (repr(handle), str(shown(handle.row())), str(ip.run_line_magic("agent", "logs a"))):
        assert "onerror" in text and "\x1b" not in text and "\u202e" not in text


def test_a_handle_that_asks_says_so_in_safe_html_with_the_command_that_answers(ip, stage: Stage) -> None:
    handle = ip.run_line_magic("agent", """spawn script --name a '[{"say": "hi"}]'""")
    puppet = stage.puppet(handle.key).wants("q1", EVIL, question=EVIL, input={"command": EVIL}, units=("file:" + "x",))
    bundle = handle._repr_mimebundle_()
    assert "%agent approve q1" in bundle["text/html"] and "%agent deny q1" in bundle["text/plain"]
    for text in bundle.values():
        assert "\x1b" not in text and "\u202e" not in text
    assert "onerror" in bundle["text/html"] and "<img src=" not in bundle["text/html"]
    state = shown(handle.row(), handle.questions)
    assert "\x1b" not in str(state) and "\u202e" not in str(state)
    handle.deny("not that")
    assert handle.questions == []
    question = stage.plane.engine.state.approvals["q1"]
    assert (question.status, question.answer) == ("denied", "not that")
    with pytest.raises(NotFound, match="no open question"):
        handle.approve()
    puppet.wants("q2", "Bash", input={"command": "ls"}).wants("q3", "Bash", input={"command": "rm x"})
    with pytest.raises(BadRequest, match=r"2 open questions.*q2.*q3"):
        handle.approve()
    handle.approve(scope="session", approval="q2")
    assert [row["approval"] for row in handle.questions] == ["q3"]


def test_a_spawn_takes_rules_and_refuses_what_is_none(ip, stage: Stage) -> None:
    spawn = """spawn script --name a --policy "approve tool=Bash command='pytest*'" --policy 'reject tool=Web' '[{"say": "hi"}]'"""
    handle = ip.run_line_magic("agent", spawn)
    assert handle.row()["spec"]["permissions"] == ["approve tool=Bash command='pytest*'", "reject tool=Web"]
    stage.puppet(handle.key).wants("q1", "Bash", input={"command": "pytest -q"}).wants("q2", "Web", input={})
    found = stage.plane.engine.state.approvals
    assert [found[id].status for id in ("q1", "q2")] == ["approved", "denied"]
    with pytest.raises(BadRequest, match="Write ACTION"):
        ip.run_line_magic("agent", """spawn script --policy 'allow all' '[{"say": "hi"}]'""")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("agentlab lo", {"logs", "locks"}), ("agentlab logs ty", {"typist"}), ("agentlab spawn --na", {"--name"})],
)
def test_a_shell_completes_too(ip, stage: Stage, typed: str, offered: set[str]) -> None:
    ip.run_line_magic("agent", """spawn script --name typist '[{"say": "hi"}]'""")
    env = {
        **os.environ,
        "_AGENTLAB_COMPLETE": "bash_complete",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(typed.count(" ")),
    }
    done = subprocess.run([sys.executable, "-m", "agentlab.cli"], env=env, capture_output=True, text=True, timeout=60)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered, done.stderr
