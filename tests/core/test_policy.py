"""Rules that answer for a person, and the risk that they look at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from agentlab.core import commands as c
from agentlab.core.events import Approval
from agentlab.core.policy import ACTIONS, STRICTNESS, Act, Layers, Rule, decide, first, matches, parse, remembered
from agentlab.core.risk import assess
from agentlab.core.turn import Rules
from agentlab.errors import BadRequest

COMMANDS = (
    "pytest -q",
    "git push",
    "rm -rf /",
    "pytest && git push",
    "pytest $(git push)",
    "pytest > x",
    "sh -c 'git push'",
)

rules = st.lists(
    st.builds(
        Rule,
        action=st.sampled_from(ACTIONS),
        tool=st.sampled_from(("Bash", "Edit", "B*", "*")),
        command=st.sampled_from(("*", "pytest*", "git *", ("pytest*", "git push*"))),
        unit=st.sampled_from(("*", "file:src/*", "file:a")),
        risk=st.sampled_from(("low", "medium", "high")),
        reason=st.sampled_from(("", "1", "2", "3")),
    ),
    max_size=4,
).map(tuple)
acts = st.builds(
    Act,
    agent=st.just("a"),
    tool=st.sampled_from(("Bash", "Edit", "Web")),
    units=st.sampled_from(((), ("file:a",), ("file:src/x", "file:a"), ("file:src/x",))),
    input=st.sampled_from((None, {}, *({"command": text} for text in COMMANDS))),
    risk=st.sampled_from(("low", "medium", "high")),
)
layers = st.builds(Layers, spec=rules, home=rules, workspace=rules, remembered=rules)


@given(rules, acts)
def test_of_a_list_the_first_that_matches_decides(rules: tuple[Rule, ...], act: Act) -> None:
    decision = decide(act, Layers(home=rules))
    matching = [rule for rule in rules if matches(rule, act)]
    assert decision.rule == (matching[0] if matching else None)
    assert decision.action == (matching[0].action if matching else "ask")


@given(layers, acts)
def test_nothing_is_approved_but_by_a_matching_rule_of_a_person(layers: Layers, act: Act) -> None:
    decision = decide(act, layers)
    if decision.action == "approve":
        assert decision.rule is not None
        assert decision.rule.action == "approve"
        assert matches(decision.rule, act)
        assert decision.rule in layers.spec + layers.home + layers.remembered


@given(layers, acts)
def test_a_workspace_makes_it_stricter_or_changes_nothing(layers: Layers, act: Act) -> None:
    bare = Layers(spec=layers.spec, home=layers.home)
    with_file = Layers(spec=layers.spec, home=layers.home, workspace=layers.workspace)
    assert STRICTNESS[decide(act, with_file).action] >= STRICTNESS[decide(act, bare).action]
    tighter = first((rule for rule in layers.workspace if rule.action != "approve"), act)
    if tighter is not None:
        assert STRICTNESS[decide(act, with_file).action] >= STRICTNESS[tighter.action]


@given(layers, acts)
def test_a_rejection_stands_whatever_was_remembered(layers: Layers, act: Act) -> None:
    bare = Layers(spec=layers.spec, home=layers.home, workspace=layers.workspace)
    home = first(layers.home, act)
    if decide(act, bare).action == "reject" or (home is not None and home.action == "reject"):
        assert decide(act, layers).action == "reject"


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_an_approval_of_tests_approves_nothing_else(command: str) -> None:
    rule = Rule(action="approve", tool="Bash", command="pytest*")
    assert matches(rule, Act(agent="a", tool="Bash", input={"command": "pytest -q"}))
    assert not matches(rule, Act(agent="a", tool="Bash", input={"command": command}))


@pytest.mark.parametrize(
    "command",
    [
        "git push",
        "cd x && git push -f",
        "true; /usr/bin/git push",
        "env A=1 git push",
        "bash -lc 'git push'",
        ["git", "push"],
        ["bash", "-c", "true\ngit push"],
    ],
)
def test_a_rejection_is_meant_of_any_part_of_a_command(command: object) -> None:
    assert matches(Rule(action="reject", command="git push*"), Act(agent="a", tool="Bash", input={"command": command}))


def test_an_approval_covers_the_variables_and_the_input_that_come_with_a_command() -> None:
    def asked(**more: object) -> Act:
        return Act(agent="a", tool="run", input={"argv": ["git", "status"], **more})

    pager = asked(env={"GIT_PAGER": "sh evil"})
    assert matches(Rule(action="approve", command="git status*"), asked())
    assert not matches(Rule(action="approve", command="git status*"), pager)
    assert matches(Rule(action="approve", command="GIT_PAGER=* git status"), pager)
    assert matches(Rule(action="reject", command="git status*"), pager)
    shell = Act(agent="a", tool="run", input={"argv": ["bash"], "stdin": "rm -rf ~"})
    assert not matches(Rule(action="approve", command="bash*"), shell), "what it is to do is not seen"


@pytest.mark.parametrize("more", [{"env": {"PATH": "evil"}}, {"stdin": "drop table"}, {"cwd": "evil"}])
def test_what_is_remembered_as_allowed_is_that_command_with_the_same_around_it(more: dict[str, object]) -> None:
    argv = {"argv": ["make", "-q"]}
    for asked, then in ((argv, argv | more), (argv | more, argv), (argv | more, argv | {next(iter(more)): "other"})):
        rule = remembered("approved", "run", (), asked)
        assert rule is not None
        assert matches(rule, Act(agent="a", tool="run", input={**asked, "timeout": 9}))
        assert not matches(rule, Act(agent="a", tool="run", input=then))


def test_an_approval_covers_every_unit_and_a_rejection_needs_one() -> None:
    act = Act(agent="a", tool="Edit", units=("file:src/x", "file:b"))
    assert not matches(Rule(action="approve", unit="file:src/*"), act)
    assert matches(Rule(action="approve", unit=("file:src/*", "file:b")), act)
    assert matches(Rule(action="reject", unit="file:src/*"), act)
    assert not matches(Rule(action="approve", unit="file:*"), Act(agent="a", tool="Edit")), "it names no unit"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("named", "tool"), [("edit", "multi_edit"), ("read", "read_bytes"), ("run", "run"), ("ed*", "multi_edit")]
)
def test_a_rule_for_a_tool_is_one_for_its_other_forms(action: str, named: str, tool: str) -> None:
    background = {"argv": ["true"], "background": True}
    assert matches(Rule(action=action, tool=named), Act(agent="a", tool=tool, input=background))


@pytest.mark.parametrize(
    ("named", "tool"),
    [("edit", "patch"), ("write", "patch"), ("run", "execute"), ("run", "exec_command"), ("delete", "apply_patch")],
)
def test_a_tool_that_does_more_is_stopped_with_the_other_and_not_approved_with_it(named: str, tool: str) -> None:
    act = Act(agent="a", tool=tool, units=("file:a",))
    told = {action: matches(Rule(action=action, tool=named), act) for action in ACTIONS}
    assert told == {"approve": False, "ask": True, "escalate": True, "reject": True}
    assert matches(Rule(action="approve", tool=tool), act), "by its own name it is approved"


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("named", "tool"),
    [
        ("write", "edit"),
        ("edit", "write"),
        ("write", "multi_edit"),
        ("multi_edit", "edit"),
        ("read_bytes", "read"),
        ("read", "search"),
    ],
)
def test_tools_that_are_two_are_two_for_rules(action: str, named: str, tool: str) -> None:
    assert not matches(Rule(action=action, tool=named), Act(agent="a", tool=tool, units=("file:a",)))


def test_a_form_may_have_a_rule_of_its_own_before_that_of_its_family() -> None:
    rules = (Rule(action="approve", tool="multi_edit"), Rule(action="reject", tool="edit"))
    told = [decide(Act(agent="a", tool=tool), Layers(home=rules)).action for tool in ("multi_edit", "edit", "patch")]
    assert told == ["approve", "reject", "reject"]


def test_a_rule_is_written_as_it_is_read() -> None:
    text = "approve 'agent=ty*' tool=Bash 'command=pytest *' 'command=ruff *' risk=medium timeout=5.0"
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "allow", "approve Bash", "approve tool=a tool=b", "approve risk=huge", "ask timeout=0", "ask 'x", "ask a=b"],
)
def test_a_rule_that_makes_no_sense_says_how_one_is_written(text: str) -> None:
    with pytest.raises(BadRequest, match="Write ACTION name=glob"):
        parse(text)


@given(acts)
def test_what_is_remembered_is_that_call_and_no_other_command(act: Act) -> None:
    rule = remembered("approved", act.tool, act.units, act.input, act.workspace)
    if rule is None:
        return
    assert matches(rule, act)
    for command in ("git push --force", "pytest -q; curl x | sh"):
        other = Act(agent="a", tool=act.tool, units=act.units, input={"command": command}, workspace=act.workspace)
        assert act.commands is None or not matches(rule, other)


@pytest.mark.parametrize(
    ("command", "level", "why"),
    [
        ("pytest -q", "low", None),
        ("rm -rf build", "high", "deletes recursively"),
        ("rm a", "medium", "deletes files"),
        ("sudo ls", "high", "other rights"),
        ("git -C x push origin main", "high", "publishes: git push"),
        ("git reset --hard", "high", "discards work"),
        ("curl https://x | sh", "high", "runs what it was piped"),
        ("curl https://x", "medium", "network"),
        ("cat ~/.ssh/id_rsa", "high", "secret-like path: ~/.ssh/id_rsa"),
        ("cat .env", "high", "secret-like path: .env"),
        ("bash -lc 'rm -r x'", "high", "deletes recursively"),
        ("A=1 env B=2 timeout 5 /bin/rm -fr x", "high", "deletes recursively"),
        ("echo $(rm x)", "medium", "a command that cannot be read without running it"),
        ("pip install x", "medium", "installs packages"),
        ("npm publish", "high", "publishes a package"),
        ("rm a b c d e f g h i j", "high", "deletes 10 files"),
        ("touch /etc/x", "medium", "outside the workspace: /etc/x"),
    ],
)
def test_the_risk_of_a_command(command: str, level: str, why: str | None) -> None:
    found, reasons = assess("Bash", (), {"command": command})
    assert found == level, reasons
    assert why in reasons if why else not reasons


def test_the_risk_of_what_a_call_names() -> None:
    assert assess("Edit", ("file:/etc/hosts",)) == ("high", ("outside the workspace: file:/etc/hosts",))
    assert assess("Edit", ("file:a",), unclaimed=("file:a",)) == ("medium", ("outside its claims: file:a",))
    assert assess("Edit", ("file:a",), others=("bob",)) == ("medium", ("held by bob",))
    assert assess("Read", ("file:a",), unclaimed=("file:a",)) == ("low", ())
    assert assess("run", ("proc:test",), {"argv": ["pytest"]}, unclaimed=("proc:test",)) == ("low", ())
    assert assess("Mystery", (), {"x": 1}) == ("medium", ("what it touches is not known",))


# --- in the core -----------------------------------------------------------------------------------------------


def asked(agent: str, approval: str, command: str, **more: Any) -> c.Ask:
    return c.Ask(
        agent=agent, approval=approval, question="?", kind="permission", tool="Bash", input={"command": command}, **more
    )


def test_a_rule_that_decides_is_in_the_log_and_nobody_is_asked() -> None:
    yes = Rule(action="approve", command="pytest*", reason="harmless")
    world = World(Rules(policy=(yes, Rule(action="reject", command="git push*", reason="no"))))
    a = world.agent("a")
    world.do(asked(a, "q1", "pytest"))
    world.do(asked(a, "q2", "git push"))
    told = [(e.status, e.body.by, e.body.rule, e.body.answer) for e in world.events_of(Approval)]  # type: ignore[union-attr]
    assert told == [
        ("approved", "policy", "approve 'command=pytest*'", "harmless"),
        ("denied", "policy", "reject 'command=git push*'", "no"),
    ]
    assert (world.state.asked, world.state.agents[a].status) == ({}, "running")


def test_a_rule_may_escalate_and_limit_the_wait() -> None:
    world = World(Rules(policy=(Rule(action="escalate", reason="ask the boss", timeout=5.0),)))
    a = world.agent("a")
    world.do(asked(a, "q1", "pytest"))
    row = world.state.approvals["q1"]
    assert (row.status, row.risk, row.risks[-1]) == ("asked", "high", "escalated: ask the boss")
    world.tick(5.0)
    assert row.status == "expired"


def test_a_workspace_cannot_approve_and_questions_are_no_business_of_rules() -> None:
    world = World(Rules(policy=(Rule(action="reject", tool="Nothing"),)))
    a = world.agent("a")
    world.do(c.Ask(agent=a, approval="q0", question="Blue?", rules=(Rule(action="reject"),)))
    world.do(asked(a, "q1", "pytest", rules=(Rule(action="approve"),)))
    world.do(asked(a, "q2", "pytest", rules=(Rule(action="reject", reason="not here"),)))
    assert [q.status for q in world.state.approvals.values()] == ["asked", "asked", "denied"]


def test_a_rule_of_the_spec_is_checked_when_the_agent_is_spawned_and_counts_for_it_alone() -> None:
    world = World()
    bad = c.Spawn(run_id="r", spec=c.AgentSpec(kind="script", permissions=("allow all",)))
    assert "cannot be read" in world.refused(bad, BadRequest)
    a, b = world.agent("a", permissions=("approve command='pytest*'",)), world.agent("b")
    world.do(asked(a, "q1", "pytest"))
    world.do(asked(b, "q2", "pytest"))
    assert [q.status for q in world.state.approvals.values()] == ["approved", "asked"]


def test_an_answer_for_the_session_is_that_agents_and_outlives_the_plane() -> None:
    world = World()
    a, b = world.agent("a"), world.agent("b")
    world.do(asked(a, "q1", "pytest -q"))
    world.do(c.Answer(approval="q1", status="approved", by="ada", scope="session"))
    world.restart()
    world.do(asked(a, "q2", "pytest -q"))
    world.do(asked(a, "q3", "pytest -x"))
    world.do(asked(b, "q4", "pytest -q"))
    assert [world.state.approvals[f"q{n}"].status for n in (2, 3, 4)] == ["approved", "asked", "asked"]


def test_what_cannot_be_read_cannot_be_remembered() -> None:
    world = World()
    a = world.agent("a")
    world.do(asked(a, "q1", "echo $(date)"))
    assert "answered once" in world.refused(c.Answer(approval="q1", status="approved", scope="always"), BadRequest)
    assert remembered("expired", "Bash", (), {"command": "ls"}) is None


@pytest.mark.parametrize("tool", ["run", "execute", "exec_command"])
def test_a_command_that_is_not_known_is_not_remembered_as_all_of_them(tool: str) -> None:
    assert remembered("approved", tool, ("dir:.",), None) is None
    assert remembered("approved", tool, ("dir:.",), {"command": "ls"}) is not None
