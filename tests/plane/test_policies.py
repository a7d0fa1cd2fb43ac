"""The rules of a home, as files that a person can read, change and delete."""

from __future__ import annotations

import stat
from pathlib import Path

from agentlab.core import commands as c
from agentlab.core.policy import Rule
from agentlab.plane.policies import FILE, read, write

from .conftest import Lab


async def ask(lab: Lab, agent: str, approval: str, command: str = "pytest -q") -> str:
    await lab.plane.engine.submit(
        c.Ask(agent=agent, approval=approval, question="?", kind="permission", tool="Bash", input={"command": command})
    )
    return lab.plane.engine.state.approvals[approval].status


async def test_an_answer_for_always_is_a_rule_in_the_home_until_a_person_deletes_it(lab: Lab) -> None:
    await lab.run()
    a, b = await lab.spawn("a"), await lab.spawn("b")
    assert await ask(lab, a, "q1") == "asked"
    await lab.client.request(c.Answer(approval="q1", status="approved", by="ada", scope="always"))
    await lab.plane.engine.settled()
    path = lab.plane.home / FILE
    (rule,) = read(path)
    assert (rule.action, rule.tool, rule.command, rule.workspace) == ("approve", "Bash", "pytest -q", str(lab.root))
    assert rule.reason == "ada, r1/a: ?"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await ask(lab, b, "q2") == "approved"
    assert await ask(lab, b, "q3", "pytest -q; ls") == "asked"
    path.unlink()
    assert await ask(lab, b, "q4") == "asked"


async def test_rules_that_cannot_be_read_allow_nothing(lab: Lab) -> None:
    await lab.run()
    a = await lab.spawn("a")
    config = lab.plane.home / "config.toml"
    config.write_text('[[policy]]\naction = "approve"\ntool = "Bash"\n')
    assert await ask(lab, a, "q1") == "approved"
    config.write_text('[[policy]]\naction = "approve"\ntoll = "Bash!"\n')
    assert await ask(lab, a, "q2") == "asked"
    assert lab.plane.engine.state.approvals["q2"].risk == "high"


def test_a_rule_file_keeps_whatever_is_in_a_command(tmp_path: Path) -> None:
    rules = [Rule(action="approve", tool="Bash", command='say "\\ \n é \x01 \U0001f600 \x7f"', reason="it's")]
    write(tmp_path / FILE, rules)
    assert list(read(tmp_path / FILE)) == rules
