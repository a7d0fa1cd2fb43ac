"""Bad input gets a clear error, and loses nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import agentlab


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kind": "nonsense"}, "script"),
        ({"kind": "script", "steps": [{"jump": 1}]}, "jump"),
        ({"kind": "script", "steps": [{"say": "x"}], "claims": ["file:../out"]}, "out"),
        ({"kind": "script", "steps": [{"say": "x"}], "claims": ["folder:x"]}, "kind"),
        ({"kind": "script", "steps": [{"say": "x"}], "priority": "urgent"}, "operator"),
        (
            {"kind": "script", "steps": [{"say": "x"}], "env": {"K": "env:NO_SUCH_VARIABLE_HERE"}},
            "NO_SUCH_VARIABLE_HERE",
        ),
        ({"kind": "script", "steps": [{"say": "x"}], "name": "a/b"}, "name"),
        ({"kind": "script", "steps": [{"say": "x"}], "ttl": -1}, "ttl"),
        ({"kind": "script", "steps": [{"say": "x"}], "workdir": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_a_spawn_that_makes_no_sense_is_refused(
    lab: agentlab.Lab, work: Path, options: dict[str, Any], says: str
) -> None:
    kind = options.pop("kind")
    options.setdefault("workdir", work)
    with pytest.raises(agentlab.AgentlabError, match=says):  # at once, or as the agent's end
        lab.spawn(kind, **options).wait(60).check()
    assert lab.spawn("script", steps=[{"say": "fine"}], workdir=work).wait(60).output == "fine"


def test_an_unknown_option_is_refused_and_named(lab: agentlab.Lab, work: Path) -> None:
    with pytest.raises(agentlab.BadRequest, match="colour"):
        lab.spawn("script", steps=[], workdir=work, colour="red")


def test_a_live_name_is_taken_and_an_ended_one_is_free(lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("names", workdir=work)
    first = run.spawn("script", name="a", steps=[{"ask": "?"}])
    with pytest.raises(agentlab.NameTaken, match="stop"):
        run.spawn("script", name="a", steps=[{"say": "x"}])
    first.stop(now=True)
    first.wait(60)
    again = run.spawn("script", name="a", steps=[{"say": "x"}])
    assert again.wait(60).output == "x"
    assert (first.agent_id, again.agent_id) == ("a", "a#2")
    run.end()


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"write": ["../out.txt", "x"]}, "workspace"),
        ({"write": ["/etc/agentlab-was-here", "x"]}, "workspace"),
        ({"write": ["link/out.txt", "x"]}, "workspace"),
        ({"read": "link/secret"}, "workspace"),
        ({"read": "nothing.txt"}, "nothing.txt"),
        ({"read": "binary.bin"}, "binary|UTF-8|text"),
        ({"patch": ["text.txt", "--- a\n+++ b\n@@ -1 +1 @@\n-other\n+new\n"]}, "appl|there"),
        ({"write": ["text.txt", "blind"]}, "read"),
        ({"run": "echo a && echo b"}, "bash"),
        ({"run": ["no-such-program-here"]}, "no-such-program-here"),
    ],
)
def test_a_step_that_may_not_be_done_fails_with_the_reason(
    lab: agentlab.Lab, work: Path, tmp_path: Path, step: dict[str, Any], says: str
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("s")
    (work / "link").symlink_to(tmp_path / "outside")
    (work / "binary.bin").write_bytes(b"\x00\xff\xfe" * 50)
    (work / "text.txt").write_text("text\n")
    result = lab.spawn("script", name="s", steps=[step], workdir=work).wait(60)
    assert result.status == "failed"
    assert re.search(says, result.error), result.error
    assert not (tmp_path / "outside" / "out.txt").exists()
    assert (work / "text.txt").read_text() == "text\n"


def test_a_stale_write_is_refused_with_the_diff(lab: agentlab.Lab, work: Path) -> None:
    (work / "x.txt").write_text("one\n")
    run = lab.run("stale", workdir=work)
    slow = run.spawn(
        "python",
        name="slow",
        code="""
text = tools.read("x.txt")
tools.ask("ready?")
try:
    tools.write("x.txt", text + "mine\\n")
except Exception as error:
    result = [type(error).__name__, error.diff]
""",
    )
    while not len(lab.approvals()):
        pass
    run.spawn("script", name="quick", steps=[{"read": "x.txt"}, {"write": ["x.txt", "two\n"]}]).wait(60).check()
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    name, diff = slow.wait(60).check().output
    assert name == "StaleBase"
    assert "-one" in diff and "+two" in diff
    assert (work / "x.txt").read_text() == "two\n"
    run.end()


def test_an_unclaimed_write_of_a_process_is_undone_and_recorded(home: Path, work: Path) -> None:
    home.mkdir(mode=0o700)
    (home / "config.toml").write_text('[sandbox]\nmode = "none"\n')  # where it can write at all
    lab = agentlab.connect(home)
    (work / "x.txt").write_text("precious\n")
    sneak = "open('x.txt','w').write('gone'); open('new.txt','w').write('junk')"
    honest = {"run": ["python3", "-c", "open('h.txt','w').write('h')"], "writes": ["file:h.txt"]}
    with lab.run(
        "sneak", workdir=work
    ) as run:  # one after the other: what two commands write at once, either may be blamed for
        run.spawn("script", name="sneaky", steps=[{"run": ["python3", "-c", sneak]}]).wait(60)
        run.spawn("script", name="honest", steps=[honest])
    assert (work / "x.txt").read_text() == "precious\n"
    assert not (work / "new.txt").exists()
    assert (work / "h.txt").read_text() == "h"
    guards = run.events(types=["guard"])
    assert set(guards["actor"]) == {"sneaky"}
    assert run.files().set_index("path")["via"].to_dict()["h.txt"] == "scan"


def test_two_spellings_are_one_file(lab: agentlab.Lab, work: Path) -> None:
    (work / "a.txt").write_text("a\n")
    (work / "alias.txt").symlink_to("a.txt")
    run = lab.run("spellings", workdir=work)
    holder = run.spawn("script", name="h", claims=["file:a.txt"], steps=[{"ask": "?"}])
    other = run.spawn("script", name="o", steps=[{"claim": ["file:alias.txt"], "wait": False}])
    result = other.wait(60)
    assert result.status == "failed"
    assert "h" in result.error
    holder.stop(now=True)
    holder.wait(60)
    run.end()
