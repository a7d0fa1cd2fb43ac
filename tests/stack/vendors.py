"""Real programs of vendors for the whole stack: what an agent of each kind needs to run against a scripted model."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import agentlab
from agentlab.testing.scripted_model import ScriptedModel

from .conftest import until

BIN = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin"
KEY = "dummy-key-of-a-test"


@dataclass(frozen=True)
class Vendor:
    """`spec`: for `spawn`. `prefix`: of our tools' names, as its model sees them."""

    kind: str
    prefix: str
    spec: dict[str, Any] = field(repr=False)

    def call(self, tool: str, **args: Any) -> dict[str, Any]:
        """A step: the model calls this tool of ours."""
        return {"tool": self.prefix + tool, "args": args}


KINDS = [
    pytest.param("claude", marks=pytest.mark.claude),
    pytest.param("codex", marks=pytest.mark.agents),
    pytest.param("gemini", marks=pytest.mark.agents),
    pytest.param("opencode", marks=pytest.mark.agents),
]


def vendor(kind: str, model: ScriptedModel, user: Path) -> Vendor:
    """With a model, a key that is none, and a home that is not the user's. Skips where the program is missing."""
    user.mkdir(exist_ok=True)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    if kind == "claude":
        env = {
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": KEY,
            "HOME": str(user),
            "CLAUDE_CONFIG_DIR": str(user / ".claude"),
        }
        return Vendor(kind, "mcp__lab__", {"model": "claude-sonnet-4-5", "env": env})
    if shutil.which(kind, path=path) is None:
        pytest.skip(f"{kind} is not installed in .agents: `bash scripts/agents.sh` says why")
    env = {"PATH": path, "HOME": str(user)}
    if kind == "gemini":
        env |= {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": model.url}
        return Vendor(kind, "mcp_lab_", {"model": "gemini-2.5-flash", "env": env})
    if kind == "opencode":
        models = {"scripted": {"limit": {"context": 100_000, "output": 8000}}}
        endpoint = {"baseURL": f"{model.url}/v1", "apiKey": "{env:SCRIPTED_KEY}"}
        own = {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": models}
        spec = {"model": "scripted/scripted", "options": {"provider": {"scripted": own}}}
        return Vendor(kind, "lab_", {**spec, "env": {**env, "SCRIPTED_KEY": KEY}})
    env |= {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{model.url}/v1"}
    return Vendor(kind, "lab_", {"model": "gpt-5.5", "env": env})


def do(*steps: dict[str, Any]) -> str:
    return f"Please do this. @do {json.dumps(steps)}"


def held_story(lab: agentlab.Lab, work: Path) -> agentlab.Run:
    """A run in which the script ann holds story.txt, and goes on when its question is answered."""
    (work / "story.txt").write_text("Once\n")
    run = lab.run("mixed", workdir=work)
    script = run.spawn(
        "script",
        name="ann",
        claims=["file:story.txt"],
        steps=[{"read": "story.txt"}, {"ask": "go on?"}, {"edit": ["story.txt", "Once\n", "Once upon\n"]}],
    )
    until(lambda: script.status == "blocked")
    return run
