"""Claude, Codex, Gemini and opencode at once in one folder, all real, on purpose in each other's way."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import of_home, plane_pid, until

pytestmark = [pytest.mark.agents, pytest.mark.claude, pytest.mark.timeout(400)]

BIN = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin"
VENDORS = ("claude", "codex", "gemini", "opencode")


@pytest.fixture
def specs(model: ScriptedModel, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """What an agent of each vendor needs here: its program, the scripted model, a key that is none, a home of its own."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    for program in VENDORS[1:]:
        if shutil.which(program, path=path) is None:
            pytest.skip(f"{program} is not installed in .agents: `bash scripts/agents.sh` says why")

    def env(kind: str, **more: str) -> dict[str, str]:
        (tmp_path / kind).mkdir()
        return {"PATH": path, "HOME": str(tmp_path / kind), **more}

    key = "dummy-key-of-a-test"
    endpoint = {"baseURL": f"{model.url}/v1", "apiKey": "{env:SCRIPTED_KEY}"}
    models = {"scripted": {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}}
    provider = {"scripted": {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}}
    return {
        "claude": {
            "model": "claude-sonnet-4-5",
            "env": env("claude", ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY=key),
        },
        "codex": {"model": "gpt-5.5", "env": env("codex", OPENAI_BASE_URL=f"{model.url}/v1", OPENAI_API_KEY=key)},
        "gemini": {
            "model": "gemini-2.5-flash",
            "env": env("gemini", GOOGLE_GEMINI_BASE_URL=model.url, GEMINI_API_KEY=key),
        },
        "opencode": {
            "model": "scripted/scripted",
            "options": {"provider": provider},
            "env": env("opencode", SCRIPTED_KEY=key),
        },
    }


def work_of(kind: str) -> str:
    """Each adds a line to one story, counts up one number, and leaves a file of its own."""
    steps: list[dict[str, Any]] = []
    for line in range(3):
        steps += [
            {"tool": "claim", "args": {"units": ["file:story.txt"]}},
            {"read": "story.txt"},  # others may have written it since: an edit from an older content is refused
            {"tool": "edit", "args": {"path": "story.txt", "old": "(end)", "new": f"{kind} {line}\n(end)"}},
            {"tool": "release", "args": {}},
        ]
    count = "n=$(cat count.txt); sleep 0.2; echo $((n + 1)) > count.txt"
    steps += [
        {"tool": "run", "args": {"argv": ["bash", "-c", count], "writes": ["count.txt"]}},
        {"write": [f"{kind}.txt", f"by {kind}"]},
        {"say": f"{kind} is done"},
    ]
    return f"Please do this. @do {json.dumps(steps)}"


def test_four_vendors_in_one_folder_lose_nothing(
    lab: agentlab.Lab, home: Path, work: Path, specs: dict[str, dict[str, Any]]
) -> None:
    (work / "story.txt").write_text("(end)\n")
    (work / "count.txt").write_text("0\n")
    run = lab.run("mixed", workdir=work)
    wanted = ["file:story.txt", "file:count.txt"]
    ann = run.spawn("script", name="ann", claims=wanted, steps=[{"ask": "go on?"}, {"read": "story.txt"}])
    until(lambda: ann.status == "blocked", "somebody is in the way of all of them")
    agents = {kind: run.spawn(kind, work_of(kind), name=kind, **specs[kind]) for kind in VENDORS}
    for kind, agent in agents.items():
        until(lambda agent=agent: agent.waits, f"{kind} is in the queue")
    assert (work / "story.txt").read_text() == "(end)\n"
    lab.answer(lab.approvals()["approval"].iloc[0], "yes")
    ann.wait(60).check()
    for kind, agent in agents.items():
        assert agent.wait(300).check().output == f"{kind} is done"
    run.end()

    story = (work / "story.txt").read_text().split("\n")
    assert sorted(story[:-2]) == sorted(f"{kind} {line}" for kind in VENDORS for line in range(3))
    for kind in VENDORS:
        assert [line for line in story if line.startswith(kind)] == [f"{kind} {line}" for line in range(3)]
        assert (work / f"{kind}.txt").read_text() == f"by {kind}"
    assert (work / "count.txt").read_text() == "4\n", "nobody counted at the same time as another"

    locks = run.locks()
    of_ann = locks[locks["actor"] == "ann"]
    for kind in VENDORS:
        first = locks[(locks["actor"] == kind) & (locks["unit"] == "file:story.txt")].iloc[0]
        assert ann.key in list(first["behind"]), f"{kind} queued behind who held it"
        assert first["requested"] < of_ann["released"].max() <= first["granted"], f"{kind} had it only afterwards"
    story_locks = locks[(locks["unit"] == "file:story.txt")].sort_values("granted")
    ends, begins = story_locks["released"].tolist()[:-1], story_locks["granted"].tolist()[1:]
    assert all(end <= begin for end, begin in zip(ends, begins, strict=True)), "never two at once"

    calls = run.tool_calls()
    for kind in VENDORS:
        own = calls[calls["actor"] == kind]
        assert own["name"].tolist() == ["claim", "read", "edit", "release"] * 3 + ["run", "write"], kind
        assert set(own["status"]) == {"ok"}
    assert set(run.usage()["actor"]) >= set(VENDORS)
    said = run.exchanges(blobs=True)
    for kind in VENDORS:
        assert f"{kind} is done" in said[said["actor"] == kind]["response"].iloc[-1], "word for word"
    assert set(of_home(home)) <= {plane_pid(home)}, "every program is gone"
    for path in home.rglob("*"):
        if path.is_file():
            assert b"dummy-key-of-a-test" not in path.read_bytes(), f"the key is in {path}"
