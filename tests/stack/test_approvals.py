"""Questions and secrets, with nothing replaced: a plane that is killed, two people who answer at once, a home that is searched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import agentlab
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import kill_plane, until
from .vendors import do, vendor


def test_a_question_outlives_the_plane_and_its_answer_reaches_the_agent(
    lab: agentlab.Lab, home: Path, work: Path
) -> None:
    agent = lab.spawn("script", name="a", steps=[{"ask": "go on?"}, {"say": "went on"}], workdir=work)
    until(lambda: agent.questions, "the question")
    (before,) = agent.questions
    kill_plane(home)
    until(
        lambda: agent.questions, "the question again"
    )  # a row may be a commit ahead of the disk: its runner tells it anew
    (after,) = agent.questions
    asked_at = after.pop("asked"), before.pop("asked")
    assert after == before and asked_at[0] >= asked_at[1]
    assert agent.status == "blocked"
    agent.answer("yes")
    assert agent.wait(60).output == "went on"
    (row,) = lab.approvals().to_dict("records")
    assert (row["approval"], row["status"], row["answer"]) == (before["approval"], "answered", "yes")


@pytest.mark.parametrize("holding", ["held", "queued for"])
def test_a_command_to_be_allowed_shows_how_the_unit_of_its_pattern_stands(
    lab: agentlab.Lab, home: Path, work: Path, holding: str
) -> None:
    """To the API, the handle, and the command line: one row, from which the sidebar too is drawn."""
    (work / "agentlab.toml").write_text('[processes]\npush = ["git push*"]\n')
    holder = lab.spawn("script", name="holder", steps=[{"ask": "done?"}], claims=["proc:push"], workdir=work)
    until(lambda: holder.questions, "its question, while it holds")
    run = holder.run
    if holding == "queued for":
        queued = run.spawn("script", name="queued", steps=[{"say": "now"}], claims=["proc:push"])
        until(lambda: queued.status == "waiting", "its place in the queue")
    agent = run.spawn("script", name="a", steps=[{"run": ["git", "push"]}], permissions=["ask tool=run"])
    until(lambda: agent.questions, "the question")
    (asked,) = agent.questions
    assert asked["units"] == ["proc:push"]
    assert [(lock["unit"], lock["owner"].rpartition("/")[2], lock.get("waits", False)) for lock in asked["locks"]] == [
        ("proc:push", "holder", False),
        *([("proc:push", "queued", True)] if holding == "queued for" else []),
    ]
    said = "proc:push is held by holder" + (", queued waits for it" if holding == "queued for" else "")
    rows = {row["approval"]: row for row in lab.approvals().to_dict("records")}
    assert json.loads(rows[asked["approval"]]["locks"]) == asked["locks"]
    assert said in agent._repr_mimebundle_()["text/html"]
    shown = subprocess.run(
        [sys.executable, "-m", "agentlab.cli", "approvals"], env={**os.environ, "AGENTLAB_HOME": str(home), "COLUMNS": "300"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert said in shown.stdout, shown


def test_of_answers_that_race_exactly_one_wins_and_the_others_are_told_whose(
    lab: agentlab.Lab, home: Path, work: Path
) -> None:
    agent = lab.spawn("script", name="a", steps=[{"ask": "which?"}, {"say": "end"}], workdir=work)
    until(lambda: agent.questions, "the question")
    id = agent.questions[0]["approval"]
    labs = [agentlab.connect(home) for _ in range(4)]
    ready = threading.Barrier(len(labs))
    won: list[int] = []
    lost: list[str] = []

    def answer(n: int) -> None:
        ready.wait()
        try:
            labs[n].answer(id, f"answer {n}")
            won.append(n)
        except agentlab.Refused as error:
            lost.append(str(error))

    threads = [threading.Thread(target=answer, args=(n,)) for n in range(len(labs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1 and len(lost) == 3
    assert all(f"answer {won[0]}" in text for text in lost)
    assert agent.wait(60).status == "done"
    (row,) = lab.approvals().to_dict("records")
    assert (row["status"], row["answer"]) == ("answered", f"answer {won[0]}")
    for each in labs:
        each.close()


def test_no_file_of_the_home_has_a_secret_that_agents_came_across(lab: agentlab.Lab, home: Path, work: Path) -> None:
    bound, body = "correct-horse-battery-staple", "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY1zA2"
    token = "gh" + "p_" + body
    prints = (
        "import os, time\n"
        "token = open('secrets.env').readline().strip().partition('=')[2]\n"
        "os.write(1, b'.' * 8150 + b'\\n' + token[:9].encode()); time.sleep(0.2); os.write(1, token[9:].encode())\n"
        "os.write(1, ('\\n' + os.environ['KEY'] + '\\n').encode())\n"
        "os.write(2, token.encode())\n"
    )
    code = (
        "tools.ask('are the secrets there?')\n"  # what is there when a run begins is kept as it is
        "text = tools.read('secrets.env')\n"
        "tools.write('copy.env', text)\n"
        "tools.edit('copy.env', 'BOUND=', 'B=')\n"
        "ran = tools.run(['python3', 'prints.py'])\n"
        "may = tools.ask('may I use ' + text + '?')\n"
        "print(text)\n"
        f"assert {token!r} in text and {bound!r} in text\n"  # what was written into the task is there as it was
        "assert may == 'do not print ' + text.split('=')[1].split()[0], may\n"
        "result = {'text': text, 'stderr': ran['stderr'] if isinstance(ran, dict) else ran.stderr}\n"
    )
    (work / "prints.py").write_text(prints)
    agent = lab.spawn("python", name="a", code=code, env={"KEY": bound}, workdir=work)
    until(lambda: agent.questions, "the first question")
    (work / "secrets.env").write_text(f"GITHUB={token}\nBOUND={bound}\n")
    agent.answer("yes")
    until(lambda: any("may I" in asked["question"] for asked in agent.questions), "the second question")
    assert "[redacted:github-token]" in agent.questions[0]["question"]
    agent.answer(f"do not print {token}")
    result = agent.wait(60).check()
    assert "[redacted:github-token]" in str(result.output) and "[redacted:KEY]" in str(result.output)
    assert token in (work / "copy.env").read_text(), "the agent itself had it"
    assert "[redacted:github-token]" in str(agent.logs())
    lab.close()
    files = [path for path in home.rglob("*") if path.is_file()]
    assert any(path.name == "agentlab.db" for path in files)
    for path in files:
        data = path.read_bytes()
        for secret in (body[3:12], body[12:], bound):
            at = data.find(secret.encode())
            assert at < 0, (path, data[max(0, at - 300) : at + 100])


@pytest.mark.agents
@pytest.mark.timeout(240)
def test_a_rule_answers_for_the_commands_of_gemini_and_a_person_sees_the_arguments_of_the_others(
    lab: agentlab.Lab, work: Path, tmp_path: Path, model: ScriptedModel
) -> None:
    one = vendor("gemini", model, tmp_path / "user")
    commands = ["touch a.txt", "rm a.txt"]
    args = [{"command": command, "dir_path": str(work), "description": "x"} for command in commands]
    steps = [{"tool": "run_shell_command", "args": given, "exact": True} for given in args]
    agent = lab.spawn(
        "gemini", do(*steps, {"say": "both"}), workdir=work, boundary="native", permissions=["approve command='touch *'"],
        **one.spec,
    )  # fmt: skip
    until(lambda: agent.questions, "the question")
    (question,) = agent.questions
    assert (question["question"], question["input"], question["units"]) == ("rm a.txt", args[1], ["dir:."])
    assert (question["risk"], "deletes files" in question["risks"]) == ("medium", True)
    assert (work / "a.txt").exists()
    agent.approve()
    assert agent.wait(120).check().output == "both"
    assert not (work / "a.txt").exists()
    assert [json.loads(told) for told in agent.run.tool_calls()["args"]] == args
    answered = [(row["question"], row["by"] == "policy") for row in lab.approvals().to_dict("records")]
    assert answered == [("touch a.txt", True), ("rm a.txt", False)]


LOOK = {
    "claude": lambda path: {"tool": "Read", "exact": True, "args": {"file_path": str(path)}},
    "codex": lambda path: {"tool": "exec_command", "exact": True, "args": {"cmd": f"cat {path.name}"}},
}


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        pytest.param("claude", "reject tool=read unit='file:.env' reason='not yours'", marks=pytest.mark.claude),
        pytest.param("codex", "reject command='cat .env*' reason='not yours'", marks=pytest.mark.agents),
    ],
)
def test_a_rule_against_a_look_holds_for_agents_with_their_own_tools(
    lab: agentlab.Lab, work: Path, model: ScriptedModel, tmp_path: Path, kind: str, rule: str
) -> None:
    """What nothing is said against is looked at without asking anybody."""
    (work / ".env").write_text("topsecret")
    (work / "open.txt").write_text("open to all")
    one = vendor(kind, model, tmp_path / "user")
    steps = [LOOK[kind](work / name) for name in (".env", "open.txt")]
    agent = lab.spawn(
        kind, do(*steps, {"say": "looked"}), workdir=work, boundary="native", permissions=[rule], **one.spec
    )
    assert agent.wait(150).check().output == "looked"
    told = [turn.last for turn in model.turns]
    assert not any("topsecret" in text for text in told) and any("open to all" in text for text in told), told
    assert lab.approvals()[["status", "by", "answer"]].values.tolist() == [["denied", "policy", "not yours"]]


@pytest.mark.claude
def test_a_search_that_could_read_what_a_rule_is_against_is_asked_about(
    lab: agentlab.Lab, work: Path, model: ScriptedModel, tmp_path: Path
) -> None:
    (work / ".env").write_text("topsecret")
    one = vendor("claude", model, tmp_path / "user")
    grep = {"tool": "Grep", "exact": True, "args": {"pattern": "secret", "path": str(work), "output_mode": "content"}}
    rules = ["reject tool=read unit='file:.env'"]
    agent = lab.spawn(
        "claude", do(grep, {"say": "looked"}), workdir=work, boundary="native", permissions=rules, **one.spec
    )
    until(lambda: agent.questions, "the question")
    agent.deny("not there")
    assert agent.wait(150).check().output == "looked"
    assert not any("topsecret" in turn.last for turn in model.turns)
