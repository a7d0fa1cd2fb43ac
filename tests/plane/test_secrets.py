"""What people write is in the log without secrets, and reaches the agent as it was written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlab.core import commands as c
from agentlab.core import events as e
from agentlab.core.events import AgentSpec
from agentlab.errors import BadRequest
from agentlab.link import messages as m
from agentlab.link.client import LinkClient, hello
from agentlab.plane.secrets import Secrets

from .conftest import Lab, until

Open = Callable[[], Awaitable[Lab]]

BODY = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY1zA2"
TOKEN, OTHER = "gh" + "p_" + BODY, "gh" + "p_" + BODY[::-1]
VALUE = "correct-horse-battery"


async def spawn(lab: Lab, name: str, task: e.JSON, secrets: dict[str, str] | None = None, **spec: object) -> str:
    env = dict.fromkeys(secrets or {}, "literal:***")
    made = AgentSpec(kind="script", name=name, task=task, env=env, **spec)  # type: ignore[arg-type]
    spawned = await lab.client.request(c.Spawn(rid=f"rid-{name}", run_id="r1", secrets=secrets or {}, spec=made))
    assert isinstance(spawned, c.Spawned)
    return spawned.agent


async def hired(lab: Lab, agent: str, **options: object) -> tuple[LinkClient, c.Hired]:
    await until(lambda: agent in lab.runtime.runners)
    runner = await LinkClient.connect(lab.plane.server.address, hello(lab.token(agent), "runner"), **options)  # type: ignore[arg-type]
    reply = await runner.request(c.Ready(agent=agent, pid=1))
    assert isinstance(reply, c.Hired)
    return runner, reply


def nowhere_in(lab: Lab, *secrets: str) -> None:
    for path in lab.plane.home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [secret for secret in secrets if secret.encode() in data], path


async def test_a_task_a_message_and_an_answer_are_logged_with_marks_and_told_as_they_were_written(lab: Lab) -> None:
    await lab.run()
    task = [{"say": f"use {TOKEN}, not {OTHER}"}, {"say": f"and {VALUE}, and {TOKEN}"}]
    agent = await spawn(lab, "a", task, {"KEY": VALUE}, instructions=f"never print {VALUE}", options={"hint": TOKEN})
    told: asyncio.Queue[m.Message] = asyncio.Queue()
    runner, given = await hired(lab, agent, on_message=told.put_nowait)
    assert given.spec.task == task
    assert given.spec.instructions == f"never print {VALUE}"
    assert given.spec.options == {"hint": TOKEN}
    logged = lab.plane.engine.state.agents[agent].spec
    assert logged.task == [
        {"say": "use [redacted:github-token], not [redacted:github-token:2]"},
        {"say": "and [redacted:KEY], and [redacted:github-token]"},
    ]
    await lab.client.request(c.SendText(agent=agent, text=f"or {OTHER} with {VALUE}?"))
    assert (await asyncio.wait_for(told.get(), 30)).text == f"or {OTHER} with {VALUE}?"
    await runner.request(c.Ask(agent=agent, approval="q", question="which?"))
    await lab.client.request(c.Answer(approval="q", status="answered", answer=f"take {TOKEN}"))
    assert (await asyncio.wait_for(told.get(), 30)).text == f"take {TOKEN}"
    assert lab.plane.engine.state.approvals["q"].answer == "take [redacted:github-token]"
    nowhere_in(lab, TOKEN, OTHER, VALUE)
    again = await runner.request(c.Ready(agent=agent, pid=1))
    assert isinstance(again, c.Hired) and [mail.text for mail in again.mail] == [f"or {OTHER} with {VALUE}?"]
    await runner.close()


async def test_by_the_way_that_http_takes_it_is_the_same(lab: Lab) -> None:
    await lab.run()
    asked = c.Spawn(run_id="r1", spec=AgentSpec(kind="script", name="a", task=[{"say": TOKEN}]))
    spawned = await lab.plane.handler.carry_out(asked)
    assert isinstance(spawned, c.Spawned)
    runner, given = await hired(lab, spawned.agent)
    assert given.spec.task == [{"say": TOKEN}]
    nowhere_in(lab, TOKEN)
    await runner.close()


async def test_what_another_agent_knows_by_heart_is_not_logged_either(lab: Lab) -> None:
    await lab.run()
    await spawn(lab, "owner", [], {"KEY": VALUE})
    finder = await spawn(lab, "finder", [])
    runner, _ = await hired(lab, finder)
    found = f"KEY={VALUE}\n".encode()
    hash = sha256(found).hexdigest()
    await runner.request(m.PutBlobs(blobs=(e.Blob(hash=hash, data=found),)))
    said = c.Entry(n=1, ts=1, body=e.Message(role="assistant", text=f"it is {VALUE}"))
    wrote = c.Entry(n=2, ts=2, body=e.Artifact(kind="file", path="a", hash=hash, size=len(found)))
    await runner.request(c.Report(agent=finder, entries=(said, wrote)))
    await runner.request(c.Ask(agent=finder, approval="q", question=f"may I use {VALUE}?", diff=hash))
    assert lab.plane.engine.state.approvals["q"].question == "may I use [redacted:KEY]?"
    kept = lab.plane.engine.state.approvals["q"].diff
    assert kept is not None and kept != hash
    blob = await lab.client.request(m.GetBlob(hash=kept))
    assert isinstance(blob, m.BlobData) and blob.data == b"KEY=[redacted:KEY]\n"
    events = await lab.client.request(m.GetEvents(run_id="r1", since=0, limit=100))
    assert isinstance(events, m.Events)
    bodies = [event.body for event in events.events]
    assert [b.text for b in bodies if isinstance(b, e.Message)] == ["it is [redacted:KEY]"]
    assert [b.hash for b in bodies if isinstance(b, e.Artifact)] == [kept]
    await runner.request(c.Finish(agent=finder, status="failed", error=f"no {VALUE}", last_lines=VALUE))
    nowhere_in(lab, VALUE)
    await runner.close()


async def test_a_mark_that_came_from_another_agent_reveals_nothing(lab: Lab) -> None:
    await lab.run()
    await spawn(lab, "a", [{"say": TOKEN}], {"KEY": VALUE})
    b = await spawn(lab, "b", [{"say": "a said [redacted:KEY] and [redacted:github-token]"}], {"OWN": "its-own-value"})
    runner, given = await hired(lab, b)
    assert given.spec.task == [{"say": "a said [redacted:KEY] and [redacted:github-token]"}]
    await runner.close()


@pytest.mark.parametrize("options", [{"args": ["--key", TOKEN]}, {"command": ["x", VALUE]}], ids=["token", "own"])
async def test_a_secret_in_an_argument_of_a_program_is_refused(lab: Lab, options: dict[str, e.JSON]) -> None:
    await lab.run()
    with pytest.raises(BadRequest, match=r"arguments of a program.*--env KEY=env:KEY"):
        await spawn(lab, "a", [], {"KEY": VALUE}, options=options)
    nowhere_in(lab, TOKEN, VALUE)


async def test_an_address_may_be_a_variable_and_an_argument(lab: Lab) -> None:
    await lab.run()
    url = "http://127.0.0.1:8399/v1"
    agent = await spawn(lab, "a", [{"say": url}], {"BASE_URL": url}, options={"command": ["x", url]})
    assert lab.plane.engine.state.agents[agent].spec.options == {"command": ["x", url]}
    runner, given = await hired(lab, agent)
    assert (given.spec.options, given.spec.task) == ({"command": ["x", url]}, [{"say": url}])
    await runner.close()


async def test_after_a_restart_a_queued_agent_gets_what_can_be_looked_up_and_fails_where_it_cannot(
    open_lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = await open_lab()
    await until(lambda: lab.plane.engine.state.runtimes)
    await lab.client.request(
        c.RegisterRuntime(runtime_id="fake", kind="fake", host="nowhere", slots=1, kinds=("script",))
    )
    await lab.run()
    await spawn(lab, "first", [])  # has the one slot
    env = {"KEY": "env:AGENTLAB_TEST_KEY"}
    for name, task in (("named", f"use {VALUE}"), ("pasted", f"use {TOKEN}")):
        spec = AgentSpec(kind="script", name=name, task=[{"say": task}], env=env)
        await lab.client.request(c.Spawn(rid=name, run_id="r1", spec=spec, secrets={"KEY": VALUE}))
    nowhere_in(lab, TOKEN, VALUE)
    await lab.close()  # type: ignore[attr-defined]
    monkeypatch.setenv("AGENTLAB_TEST_KEY", VALUE)
    lab = await open_lab()
    runner, given = await hired(lab, "r1/named")
    assert given.spec.task == [{"say": f"use {VALUE}"}]
    await until(lambda: lab.status("r1/pasted") == "failed")
    error = lab.plane.engine.state.agents["r1/pasted"].error
    assert "[redacted:github-token]" in error and "Spawn the agent again" in error
    await runner.close()


@pytest.mark.parametrize(
    ("reference", "why"),
    [("literal:***", "went with the plane"), ("file:/no/such/file", "cannot be read. Put it back")],
)
async def test_a_queued_agent_whose_value_is_not_to_be_had_says_why(open_lab: Open, reference: str, why: str) -> None:
    lab = await open_lab()
    await until(lambda: lab.plane.engine.state.runtimes)
    await lab.client.request(
        c.RegisterRuntime(runtime_id="fake", kind="fake", host="nowhere", slots=1, kinds=("script",))
    )
    await lab.run()
    await spawn(lab, "first", [])  # has the one slot
    spec = AgentSpec(kind="script", name="late", task=[], env={"KEY": reference})
    await lab.client.request(c.Spawn(rid="late", run_id="r1", spec=spec, secrets={"KEY": VALUE}))
    await lab.close()  # type: ignore[attr-defined]
    lab = await open_lab()
    await until(lambda: lab.status("r1/late") == "failed")
    assert f"KEY ({reference}) {why}" in lab.plane.engine.state.agents["r1/late"].error


async def test_an_agent_that_was_alive_when_the_plane_was_not_keeps_its_secrets_out_of_others_words(
    open_lab: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTLAB_TEST_KEY", VALUE)
    lab = await open_lab()
    await lab.run()
    spec = AgentSpec(kind="script", name="owner", task=[], env={"KEY": "env:AGENTLAB_TEST_KEY"})
    await lab.client.request(c.Spawn(rid="owner", run_id="r1", spec=spec, secrets={"KEY": VALUE}))
    await until(lambda: lab.plane.engine.state.agents["r1/owner"].place)
    await lab.close()  # type: ignore[attr-defined]
    lab = await open_lab()
    other = await spawn(lab, "other", [{"say": VALUE}])
    runner, given = await hired(lab, other)
    assert given.spec.task == [{"say": VALUE}]
    nowhere_in(lab, VALUE)
    await runner.close()


def test_with_one_key_for_all_a_report_is_not_looked_at() -> None:
    secrets = Secrets()
    for agent in ("r/a", "r/b"):
        secrets.bind(agent, {"KEY": VALUE})
    report = c.Report(agent="r/a", entries=(c.Entry(n=1, ts=1, body=e.Message(role="assistant", text=VALUE)),))
    assert secrets.conceal(report) is report  # its runner knows that value
    secrets.bind("r/c", {"KEY": "another-value"})
    assert secrets.conceal(report) is report  # nothing of r/c is in it


def test_what_is_bound_is_forgotten_with_its_run() -> None:
    secrets = Secrets()
    secrets.bind("r/a", {"KEY": VALUE})
    text = c.SendText(agent="q/b", text=VALUE)
    assert secrets.conceal(text).text == "[redacted:KEY]"
    secrets.left("r/a")
    assert secrets.reveal("r/a", "[redacted:KEY]") == "[redacted:KEY]"
    assert secrets.conceal(text).text == "[redacted:KEY]"
    secrets.closed("r")
    assert secrets.conceal(text) is text and secrets.of("r/a") is None


words = st.lists(
    st.sampled_from([TOKEN, OTHER, VALUE, "another-value", "plain ", "[redacted:x", "]", "\n", "é "]), max_size=12
).map(" ".join)


@given(st.recursive(words, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)))
def test_whatever_is_written_comes_back_and_leaves_no_secret_behind(task: e.JSON) -> None:
    secrets = Secrets()
    secrets.bind("r/other", {"KEY": "another-value"})
    spawn = c.Spawn(run_id="r", spec=AgentSpec(kind="script", task=task), secrets={"KEY": VALUE})
    logged, marks = secrets.conceal_spawn(spawn)
    encoded = msgspec.json.encode(logged).decode()
    assert not [secret for secret in (TOKEN, OTHER, VALUE, "another-value") if secret in encoded]
    secrets.bind("r/a", spawn.secrets, marks)
    told = secrets.hired(
        c.Hired(agent="r/a", run_id="r", agent_id="a", task_id="t", spec=logged.spec, root="/", host="h", claims="")
    )
    assert told.spec.task == task
