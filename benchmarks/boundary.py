"""What the boundary costs: a vendor's real program doing one write and one command, by itself and as an agent.

Both do the same work against the same scripted model on loopback, in turn, round by round: by itself headless with its
own tools, as an agent from the spawn to the result, with ours. And how long a stopped agent takes to be gone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agentlab
from agentlab import discovery, processes
from agentlab.testing.scripted_model import ScriptedModel

from .measure import Measure, alone, left_out, paired

ROUNDS, STOPS = 7, 20
RATIO_TARGET, STOP_TARGET = 1.25, 3.0  # times, s
PATIENCE = 120.0  # s that one run may take
BIN = Path(__file__).parents[1] / ".agents" / "node_modules" / ".bin"
KEY = "dummy"


@dataclass(frozen=True)
class Vendor:
    """`bare`: the argv that does a prompt headless. `env`, `model`: for both sides."""

    kind: str
    model: str
    env: dict[str, str]
    bare: Callable[[str], list[str]]


def run(quick: bool = False, kinds: Sequence[str] = ("claude", "codex")) -> list[Measure]:
    rounds, stops = (1, 1) if quick else (ROUNDS, STOPS)
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="agentlab-bench-") as folder, ScriptedModel() as model:
        place = Path(folder).resolve()
        lab = agentlab.connect(place / "home")
        try:
            for kind in kinds:
                vendor = _VENDORS[kind](model, place / "users" / kind)
                if isinstance(vendor, str):
                    measures.append(left_out(f"{kind}: a write and a command", f"{kind} by itself", vendor))
                    continue
                measures += [_cost(lab, vendor, place, rounds), _stops(lab, vendor, place, stops)]
        finally:
            lab.close()
            discovery.stop(place / "home", force=True)
    return measures


# --- the vendors -------------------------------------------------------------------------------------------


def _claude(model: ScriptedModel, user: Path) -> Vendor | str:
    try:
        import claude_agent_sdk
    except ImportError:
        return "the extra `claude` is not installed"
    cli = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    user.mkdir(parents=True)
    env = {
        "HOME": str(user),
        "CLAUDE_CONFIG_DIR": str(user / ".claude"),
        "ANTHROPIC_BASE_URL": model.url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
    }
    flags = [
        "--output-format",
        "stream-json",
        "--verbose",
        "--permission-mode",
        "acceptEdits",
        "--allowedTools",
        "Bash",
    ]
    name = "claude-sonnet-4-5"
    return Vendor("claude", name, env, lambda prompt: [str(cli), "-p", prompt, *flags, "--model", name])


def _codex(model: ScriptedModel, user: Path) -> Vendor | str:
    cli = shutil.which("codex", path=str(BIN))
    if cli is None:
        return "codex is not installed in .agents: `bash scripts/agents.sh`"
    home = user / ".codex"
    home.mkdir(parents=True)
    (home / "config.toml").write_text(
        'model_provider = "scripted"\napproval_policy = "never"\nsandbox_mode = "danger-full-access"\n'
        "check_for_update_on_startup = false\n[model_providers.scripted]\n"
        f'name = "scripted"\nbase_url = "{model.url}/v1"\nenv_key = "OPENAI_API_KEY"\nwire_api = "responses"\n'
        "[analytics]\nenabled = false\n"
    )
    env = {
        "HOME": str(user),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{model.url}/v1",
    }
    exec = [cli, "exec", "--json", "--skip-git-repo-check", "-m", "gpt-5.5"]
    return Vendor("codex", "gpt-5.5", env, lambda prompt: [*exec, prompt])


_VENDORS = {"claude": _claude, "codex": _codex}


# --- what is measured --------------------------------------------------------------------------------------


def _do(*steps: dict[str, Any]) -> str:
    return f"Please do this. @do {json.dumps(steps)}"


def _cost(lab: agentlab.Lab, vendor: Vendor, place: Path, rounds: int) -> Measure:
    ours, bare = [], []
    for number in range(rounds + 1):
        taken = _bare(vendor, _workspace(place, f"{vendor.kind}-bare-{number}"))
        spawned = _ours(lab, vendor, _workspace(place, f"{vendor.kind}-ours-{number}"))
        if number or not rounds:  # the first round finds cold caches
            bare.append(taken)
            ours.append(spawned)
    return paired(
        f"{vendor.kind}: a write and a command", ours, "s", f"{vendor.kind} by itself", bare,
        target=RATIO_TARGET, better="lower", note="spawn to result, the plane running",
    )  # fmt: skip


_WORK = ({"write": ["a.txt", "hi"]}, {"shell": "echo done"}, {"say": "finished"})


def _bare(vendor: Vendor, root: Path) -> float:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **vendor.env}
    begun = time.perf_counter()
    done = subprocess.run(
        vendor.bare(_do(*_WORK)), cwd=root, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
    )
    taken = time.perf_counter() - begun
    if done.returncode or not (root / "a.txt").exists():
        raise RuntimeError(f"{vendor.kind} by itself did not do it: {done.stderr.decode(errors='replace')[-500:]}")
    return taken


def _ours(lab: agentlab.Lab, vendor: Vendor, root: Path) -> float:
    begun = time.perf_counter()
    agent = lab.spawn(vendor.kind, _do(*_WORK), workdir=root, model=vendor.model, env=vendor.env)
    agent.wait(PATIENCE).check()
    taken = time.perf_counter() - begun
    if (root / "a.txt").read_text() != "hi":
        raise RuntimeError(f"{vendor.kind} did not write its file.")
    return taken


def _stops(lab: agentlab.Lab, vendor: Vendor, place: Path, times: int) -> Measure:
    """The longest: from `stop`, in the middle of a command that has left its session, until nothing of it is there."""
    taken = []
    for number in range(times):
        root = _workspace(place, f"{vendor.kind}-stop-{number}")
        prompt = _do({"shell": "setsid sleep 1009 & setsid -f sleep 1009; wait"}, {"say": "never"})
        agent = lab.spawn(vendor.kind, prompt, workdir=root, model=vendor.model, env=vendor.env)
        key = agent.key
        _until(lambda key=key: _sleepers(key) >= 2)
        begun = time.perf_counter()
        agent.stop()
        _until(lambda key=key: not processes.marked(key))
        taken.append(time.perf_counter() - begun)
        agent.wait(PATIENCE)
    note = f"the longest of {times}, its tools' children in sessions of their own"
    return alone(f"{vendor.kind}: stopped until gone", max(taken), "s", target=STOP_TARGET, better="lower", note=note)


def _sleepers(key: str) -> int:
    found = 0
    for pid in processes.marked(key):
        try:
            found += b"1009" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
    return found


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("It never came.")
        time.sleep(0.01)


def _workspace(place: Path, name: str) -> Path:
    root = place / "work" / name
    root.mkdir(parents=True)
    return root
