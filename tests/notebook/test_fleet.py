"""Runs and labs as a notebook shows them: live where there is a front end, and always with what a saved notebook keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kernels import SAY, WIDGET, Kernel, of

import agentlab
from agentlab.client.fleet import Fleet
from agentlab.notebook import fleet
from agentlab.notebook.display import LiveViews
from agentlab.testing.stage import Stage

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle() -> None:
    """The widget's script: built, where it can be."""
    if fleet.BUNDLE.is_file():
        return
    if shutil.which("npm") is None and os.environ.get("CI") != "true":
        pytest.skip(
            "the widget's script is not built and there is no npm; `make labextension` brings one and builds it"
        )
    done = subprocess.run(
        ["bash", "scripts/labextension.sh", "build:notebook"],
        cwd=ROOT, env={**os.environ, "VENV": sys.prefix}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def state_of(message: dict, model: str) -> dict:
    if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != model:
        return {}
    return message["content"]["data"].get("state", {}).get("state", {})


def click(kernel: Kernel, model: str, **content: str) -> None:
    message = kernel.client.session.msg(
        "comm_msg", {"comm_id": model, "data": {"method": "custom", "content": content}}
    )
    kernel.client.shell_channel.send(message)


@pytest.mark.usefixtures("bundle")
def test_a_run_is_shown_live_and_ends_as_what_a_saved_notebook_keeps(kernel: Kernel, stage: Stage, tmp_path) -> None:
    kernel.run(f"import agentlab\nlab = agentlab.connect()\nrun = lab.run('story', workdir={str(tmp_path)!r})")
    messages = kernel.run(f"a, b = (run.spawn('script', name=n, steps={SAY}) for n in 'ab')\nrun")
    assert not of(messages, "error", "stream", "execute_result")
    (shown,) = of(messages, "display_data")
    assert {"text/plain", "text/html", WIDGET} == set(shown["data"])
    assert "<script" not in shown["data"]["text/html"]
    model = shown["data"][WIDGET]["model_id"]
    first, second = (stage.puppet(agent) for agent in list(stage.plane.engine.state.agents))
    first.claims("file:a.txt")
    second.claims("file:a.txt")

    def waits(message: dict) -> bool:
        agents = state_of(message, model).get("agents", [])
        return any(row["status"] == "waiting" and "held by a" in row["what"] for row in agents)

    kernel.until(waits)
    click(kernel, model, do="stop", agent=first.agent)  # over the widget's channel, while the kernel is free
    messages = kernel.until(lambda m: any(row["status"] == "cancelled" for row in state_of(m, model).get("agents", [])))
    second.finishes(output="well")
    kernel.until(lambda m: m["msg_type"] == "update_display_data" and WIDGET in m["content"]["data"])
    messages = kernel.run("run.end()")
    if not of(messages, "update_display_data"):
        messages = kernel.until(lambda m: m["msg_type"] == "update_display_data")
    last = of(messages, "update_display_data")[-1]
    assert last["transient"] == shown["transient"]
    assert set(last["data"]) == {"text/plain", "text/html"}
    assert "cancelled" in last["data"]["text/html"] and "well" in last["data"]["text/html"]
    assert not of(messages, "stream", "error")


@pytest.mark.usefixtures("bundle")
def test_a_lab_shows_all_its_agents_and_a_click_on_a_stranger_does_nothing(
    kernel: Kernel, stage: Stage, tmp_path
) -> None:
    messages = kernel.run(
        f"import agentlab\nlab = agentlab.connect()\nh = lab.spawn('script', name='a', steps={SAY}, workdir={str(tmp_path)!r})\nlab"
    )
    (shown,) = of(messages, "display_data")
    model = shown["data"][WIDGET]["model_id"]
    assert "1 live of 1 agents" in shown["data"]["text/plain"]
    puppet = stage.puppet(next(iter(stage.plane.engine.state.agents)))
    click(kernel, model, do="stop", agent="r0/nobody")
    click(kernel, model, do="rm -rf", agent=puppet.agent)
    puppet.calls("write", "file:a.txt")
    kernel.until(lambda m: any(row["what"] for row in state_of(m, model).get("agents", [])))
    assert stage.plane.engine.state.agents[puppet.agent].status == "running"
    puppet.finishes()
    messages = kernel.until(lambda m: m["msg_type"] == "update_display_data")
    assert "0 live of 1 agents" in of(messages, "update_display_data")[-1]["data"]["text/plain"]


def test_without_the_script_or_a_run_that_goes_on_there_is_plain_html(stage: Stage, tmp_path, monkeypatch) -> None:
    with agentlab.connect(stage.home, start=False) as lab:
        run = lab.run("story", workdir=tmp_path)
        monkeypatch.setattr(fleet, "BUNDLE", tmp_path / "nothing.js")
        assert LiveViews().show_fleet(run) is False
        assert "story" in run._repr_mimebundle_()["text/html"]
        monkeypatch.setattr(fleet, "BUNDLE", Path(__file__))
        run.end()
        assert LiveViews().show_fleet(run) is False
        assert "Lab of" in lab._repr_mimebundle_()["text/html"]
    assert "closed" in str(lab._repr_mimebundle_()) or "Lab" in str(lab._repr_mimebundle_())


def test_a_missing_script_is_explained_once(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(fleet, "BUNDLE", tmp_path / "fleet.js")
    assert not fleet.has_widget() and not fleet.has_widget()
    (record,) = [record for record in caplog.records if record.name == "agentlab.notebook"]
    assert str(tmp_path / "fleet.js") in record.getMessage() and "make labextension" in record.getMessage()


def test_the_room_is_imported_without_the_script(tmp_path) -> None:
    """As installed from a checkout where it could not be built: a copy of the room, without `static`."""
    shutil.copytree(
        ROOT / "agentlab", tmp_path / "agentlab", ignore=shutil.ignore_patterns("static", "labextension", "__pycache__")
    )
    code = "import agentlab.notebook.fleet as fleet; print(fleet.has_widget(), fleet.BUNDLE)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["False", str(tmp_path / "agentlab/notebook/static/fleet.js")], done.stderr
    assert done.stderr.count("make labextension") == 1


def test_a_fleet_is_worded_in_short_safe_texts() -> None:
    evil = "\x1b[31m<img src=x>\u202e" + "y" * 9000
    row = {
        "agent": "r/a", "name": evil, "kind": evil, "status": "running", "doing": evil, "holds": [evil], "usage": {"in": 3},
        "queued_at": 1, "started": 1,
    }  # fmt: skip
    state = fleet.state_of(Fleet("t", [row, {**row, "agent": "r/b", "status": "done", "output": evil}], over=False))
    assert (state["ended"], [agent["live"] for agent in state["agents"]]) == (1, [True, False])
    for text in state["agents"][0].values():
        assert len(str(text)) <= 200 and "\x1b" not in str(text) and "\u202e" not in str(text)
