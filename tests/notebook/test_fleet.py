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
from agentlab.client.fleet import bundle as bundle_of
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


def trait(name: str, message: dict, model: str) -> object:
    if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != model:
        return None
    return message["content"]["data"].get("state", {}).get(name)


@pytest.mark.usefixtures("bundle")
def test_while_the_plane_is_gone_its_views_say_of_when_they_are(kernel: Kernel, stage: Stage, tmp_path) -> None:
    spawned = f"h = lab.spawn('script', name='a', steps={SAY}, workdir={str(tmp_path)!r})"
    kernel.run(f"import agentlab\nlab = agentlab.connect(start=False)\n{spawned}")
    puppet = stage.puppet(next(iter(stage.plane.engine.state.agents)))
    shown = of(kernel.run("display(h, lab)"), "display_data")
    models = [each["data"][WIDGET]["model_id"] for each in shown]
    puppet.calls("write", "file:a.txt")
    kernel.until(lambda m: any(row["what"] for row in state_of(m, models[1]).get("agents", [])))
    stage.stop()
    told: dict[str, object] = {}

    def all_told(message: dict) -> bool:
        told.update({model: lost for model in models if (lost := trait("lost", message, model)) is not None})
        return len(told) == len(models)

    kernel.until(all_told)
    assert all(told.values())
    told.clear()
    stage.start()
    kernel.until(all_told)
    assert not any(told.values())
    stage.submit_finish(puppet.agent)


@pytest.mark.usefixtures("bundle")
def test_a_notebook_that_is_saved_in_the_middle_has_a_picture_with_its_moment(
    kernel: Kernel, stage: Stage, tmp_path
) -> None:
    kernel.run("from agentlab.notebook import display as views\nviews.RENEW = 0.1\nimport agentlab")
    spawned = f"h = lab.spawn('script', name='a', steps={SAY}, workdir={str(tmp_path)!r})"
    kernel.run(f"lab = agentlab.connect()\n{spawned}")
    puppet = stage.puppet(next(iter(stage.plane.engine.state.agents)))
    shown = of(kernel.run("display(h, lab)"), "display_data")
    puppet.calls("write", "file:a.txt")
    kept: dict[str, dict] = {}

    def all_kept(message: dict) -> bool:
        if message["msg_type"] == "update_display_data" and "write file:a.txt" in str(message["content"]["data"]):
            kept[message["content"]["transient"]["display_id"]] = message["content"]["data"]
        return len(kept) == 2

    kernel.until(all_kept)
    for each in shown:
        data = kept[each["transient"]["display_id"]]
        assert data[WIDGET] == each["data"][WIDGET], "it stays live"
        assert "as of 20" in data["text/html"]
    puppet.finishes()


@pytest.mark.usefixtures("bundle")
def test_what_goes_on_without_a_change_is_kept_too_and_its_clock_goes_on(
    kernel: Kernel, stage: Stage, tmp_path
) -> None:
    kernel.run("from agentlab.notebook import display as views\nviews.RENEW = 0.1\nimport agentlab")
    spawned = f"h = lab.spawn('script', name='a', steps={SAY}, workdir={str(tmp_path)!r})"
    kernel.run(f"lab = agentlab.connect()\n{spawned}")
    puppet = stage.puppet(next(iter(stage.plane.engine.state.agents)))
    one, whole = (each["data"][WIDGET]["model_id"] for each in of(kernel.run("display(h, lab)"), "display_data"))
    seen: dict[str, list] = {"clock": [], "update": [], "one": []}

    def both(message: dict) -> bool:
        if (clock := trait("clock", message, whole)) is not None:
            seen["clock"].append(clock)
        if (clock := trait("clock", message, one)) is not None:
            seen["one"].append(clock)
        if message["msg_type"] == "update_display_data" and WIDGET in message["content"]["data"]:
            seen["update"].append(message)
        return min(map(len, (seen["clock"], seen["one"]))) >= 2 and bool(seen["update"])

    kernel.until(both)  # no row changes meanwhile
    first, second = seen["clock"][:2]
    assert first["now"] < second["now"]
    assert list(second["ages"]) == [puppet.agent] and second["ages"] != first["ages"]
    assert len({each["age"] for each in seen["one"]}) > 1
    puppet.finishes()


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
    assert "was closed" in lab._repr_mimebundle_()["text/plain"]


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


def test_of_more_agents_than_a_table_has_all_are_counted_and_those_that_live_are_listed() -> None:
    ended = {"agent": "r/e", "name": "e", "kind": "k", "status": "done", "queued_at": 1}
    live = {"agent": "r/l", "name": "last", "kind": "k", "status": "waiting", "queued_at": 9}
    shown = Fleet("t", [*[ended] * 250, live], over=False)
    state = fleet.state_of(shown)
    assert (state["total"], state["ended"], state["waiting"], state["more"]) == (251, 250, 1, "and 51 more")
    assert (len(state["agents"]), state["agents"][0]["name"]) == (200, "last")
    assert "and 51 more" in bundle_of(shown)["text/html"] and "last" in bundle_of(shown)["text/html"]


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
