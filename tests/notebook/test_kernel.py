"""In a real kernel, over its real channels, as a front end sees it."""

from __future__ import annotations

import time

import nbformat
from kernels import SAY, WIDGET, Kernel, of

from agentlab.testing.stage import Stage


def only_agent(stage: Stage) -> str:
    return next(iter(stage.plane.engine.state.agents))


def test_a_handle_is_shown_live_and_ends_as_static_html(kernel: Kernel, stage: Stage) -> None:
    messages = kernel.run(f"h = %agent spawn script --name a '{SAY}'\nh")
    assert not of(messages, "error", "stream", "execute_result")
    (shown,) = of(messages, "display_data")
    assert {"text/plain", "text/html", WIDGET} == set(shown["data"])
    assert "<script" not in shown["data"]["text/html"]
    model = shown["data"][WIDGET]["model_id"]
    opened = [m for m in messages if m["msg_type"] == "comm_open" and m["content"]["comm_id"] == model]
    assert "export default" in opened[0]["content"]["data"]["state"]["_esm"]

    puppet = stage.puppet(only_agent(stage))
    puppet.calls("write", "file:a.txt")

    def doing(message: dict) -> bool:
        state = message["content"].get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
        return state.get("state", {}).get("what") == "write file:a.txt"

    kernel.until(doing)
    puppet.finishes(output="all good")
    messages = kernel.until(lambda m: m["msg_type"] == "update_display_data")
    last = of(messages, "update_display_data")[0]
    assert last["transient"] == shown["transient"]
    assert set(last["data"]) == {"text/plain", "text/html"}
    assert "done" in last["data"]["text/html"] and "all good" in last["data"]["text/html"]
    assert not of(messages, "stream")


def test_the_stop_button_stops_the_agent(kernel: Kernel, stage: Stage) -> None:
    messages = kernel.run(f"%agent spawn script --name a '{SAY}'")
    model = of(messages, "display_data")[0]["data"][WIDGET]["model_id"]
    stage.puppet(only_agent(stage))
    click = kernel.client.session.msg(
        "comm_msg", {"comm_id": model, "data": {"method": "custom", "content": {"do": "stop"}}}
    )
    kernel.client.shell_channel.send(click)
    messages = kernel.until(lambda m: m["msg_type"] == "update_display_data")
    assert "cancelled" in of(messages, "update_display_data")[0]["data"]["text/plain"]


def test_the_view_of_an_agent_shows_what_it_asks_and_a_click_answers(kernel: Kernel, stage: Stage) -> None:
    messages = kernel.run(f"%agent spawn script --name a '{SAY}'")
    model = of(messages, "display_data")[0]["data"][WIDGET]["model_id"]
    puppet = stage.puppet(only_agent(stage)).wants(
        "q1", "Bash", input={"command": "pytest -q '<b>'"}, units=("file:a",)
    )
    asked: dict = {}

    def asks(message: dict) -> bool:
        data = message["content"].get("data", {}) if message["msg_type"] == "comm_msg" else {}
        asked.update(data.get("state", {}).get("state", {}).get("question") or {})
        return bool(asked)

    kernel.until(asks)
    assert asked["approval"] == "q1" and "pytest -q '<b>'" in asked["call"] and "risk" in asked["about"]
    assert [b["label"] for b in asked["buttons"]] == ["Allow once", "Allow for this session", "Always allow", "Deny"]

    def click(**content: str) -> None:
        data = {"method": "custom", "content": {"do": "answer", **content}}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", {"comm_id": model, "data": data}))

    click(approval="q2", status="approved", scope="once", answer="")  # not what is shown
    click(approval="q1", status="approved", scope="for ever", answer="")  # not a button
    kernel.run("1")
    assert stage.plane.engine.state.approvals["q1"].status == "asked"
    click(approval="q1", status="approved", scope="session", answer="")
    kernel.until(
        lambda m: (
            m["msg_type"] == "comm_msg"
            and m["content"].get("data", {}).get("state", {}).get("state", {}).get("question", 0) is None
        )
    )
    question = stage.plane.engine.state.approvals["q1"]
    assert (question.status, question.scope) == ("approved", "session")
    puppet.finishes()


def test_an_interrupted_wait_detaches_and_the_agent_goes_on(kernel: Kernel, stage: Stage) -> None:
    kernel.run(f"%agent spawn script --name a '{SAY}' -o h")
    puppet = stage.puppet(only_agent(stage))
    id = kernel.client.execute("print('waiting', flush=True)\nh.wait()")
    kernel.until(lambda m: m["msg_type"] == "stream")
    kernel.manager.interrupt_kernel()
    messages = kernel.until(
        lambda m: m["parent_header"].get("msg_id") == id and m["content"].get("execution_state") == "idle"
    )
    assert [error["ename"] for error in of(messages, "error")] == ["KeyboardInterrupt"]
    assert stage.plane.engine.state.agents[puppet.agent].status == "running"
    puppet.finishes()
    (result,) = of(kernel.run("h.wait()"), "execute_result")
    assert result["data"]["text/plain"].startswith("Result(status='done'")


def test_a_handle_can_be_awaited_at_the_top_of_a_cell(kernel: Kernel, stage: Stage) -> None:
    kernel.run(f"%agent spawn script --name a '{SAY}' -o h")
    stage.puppet(only_agent(stage)).finishes(output=42)
    (result,) = of(kernel.run("(await h).output"), "execute_result")
    assert result["data"]["text/plain"] == "42"


def test_followed_logs_are_one_output_that_grows_and_nothing_is_printed(kernel: Kernel, stage: Stage) -> None:
    kernel.run(f"%agent spawn script --name a '{SAY}'")
    puppet = stage.puppet(only_agent(stage))
    messages = kernel.run("%agent logs -f a")
    (shown,) = of(messages, "display_data")
    puppet.says("<b>one</b>")
    messages = kernel.until(lambda m: m["msg_type"] == "update_display_data" and "one" in str(m["content"]["data"]))
    update = of(messages, "update_display_data")[-1]
    assert update["transient"] == shown["transient"]
    assert "&lt;b&gt;one&lt;/b&gt;" in update["data"]["text/html"]
    assert not of(messages, "stream")


def test_a_restarted_kernel_finds_its_agent_again(kernel: Kernel, stage: Stage) -> None:
    kernel.run(f"%agent spawn script --name a '{SAY}'")
    puppet = stage.puppet(only_agent(stage))
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    kernel.run("import agentlab\nh = agentlab.connect().agent('a')")
    puppet.finishes(output="kept")
    (result,) = of(kernel.run("h.wait().output"), "execute_result")
    assert result["data"]["text/plain"] == "'kept'"


def test_a_notebook_executed_headless_keeps_how_its_agents_ended(stage: Stage) -> None:
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(source)
            for source in (
                "%load_ext agentlab",
                f"%agent spawn script --name a -o h '{SAY}'",
                "h.stop(); h.wait(60)",
                "%agent ps --all",
            )
        ]
    )
    NotebookClient(notebook, timeout=90, kernel_name="python3").execute()
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "display_data"
    assert WIDGET not in output.data
    assert "cancelled" in output.data["text/html"]
    assert "cancelled" in notebook.cells[3].outputs[0].data["text/html"]
    assert not [o for cell in notebook.cells for o in cell.outputs if o.output_type == "stream"]


def test_an_interrupted_magic_raises_what_an_interrupted_cell_raises(kernel: Kernel, stage: Stage) -> None:
    kernel.run(f"%agent spawn script --name a '{SAY}'")
    stage.puppet(only_agent(stage))
    id = kernel.client.execute("print('waiting', flush=True)\n%agent wait a")
    kernel.until(lambda m: m["msg_type"] == "stream")
    until_waited_for(stage)
    kernel.manager.interrupt_kernel()
    messages = kernel.until(
        lambda m: m["parent_header"].get("msg_id") == id and m["content"].get("execution_state") == "idle"
    )
    assert [error["ename"] for error in of(messages, "error")] == ["KeyboardInterrupt"]


def until_waited_for(stage: Stage) -> None:
    deadline = time.monotonic() + 30
    while not stage.plane.handler._ends:
        assert time.monotonic() < deadline
        time.sleep(0.02)
