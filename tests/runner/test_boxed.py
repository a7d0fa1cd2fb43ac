"""Programs that keep their own tools, in the sandbox of their agent: what they write, read and reach."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from toolbox import Lab, until

from agentlab import processes
from agentlab.config import Network
from agentlab.core.events import AgentSpec, ModelExchange
from agentlab.errors import AgentFailed, Unavailable
from agentlab.runner.drivers.acp import AcpDriver
from agentlab.runner.drivers.base import Context
from agentlab.runner.drivers.start import write_anew
from agentlab.runner.model_proxy import ModelProxy
from agentlab.sandbox import Bubblewrap, Door, Landlock, Needs, Sandbox, probe_bubblewrap, probe_landlock
from agentlab.testing import fake_acp

pytest.importorskip("acp")
pytestmark = pytest.mark.timeout(150)

Make = Callable[..., AcpDriver]
BIG = 3_000_000  # bytes


def made(rung: str, home: Path, network: Network) -> Sandbox:
    try:
        if rung == "bubblewrap":
            return Bubblewrap(program=probe_bubblewrap(), hidden=(home,), network=network == "all")
        probe_landlock()
        return Landlock(hidden=(home,), network=network == "all")
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


class Echo(BaseHTTPRequestHandler):
    """A model: it answers what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
async def make(tool_lab: Lab, tmp_path: Path):
    """Makes the driver of an agent whose program first does some Python, in which `put(name, value)` keeps what it found."""
    drivers: list[AcpDriver] = []
    recorders: list[ModelProxy] = []

    def make(
        rung: str = "bubblewrap", code: str = "", *, network: Network = "all", model: str = "", env: dict[str, str] | None = None,
        boundary: str = "native",
    ) -> AcpDriver:  # fmt: skip
        home = tool_lab.home
        box = made(rung, home, network)
        host, gate = tool_lab.agent("a", hold=60.0, sandbox=box)
        private = home / "agents" / "one"
        private.mkdir(parents=True, mode=0o700, exist_ok=True)
        program = tmp_path / "programs" / "agent.py"
        program.parent.mkdir(exist_ok=True)
        lines = code.replace("\n", "\n    ")
        program.write_text(
            "import json, os, runpy, socket, sys\nfound = {}\nput = found.__setitem__\n"
            "def can(act, *given):\n    try:\n        act(*given)\n    except OSError:\n        return False\n    return True\n"
            f"def first():\n    pass\n    {lines}\n"
            f"first()\njson.dump(found, open({str(tool_lab.root)!r} + '/found.json', 'w'))\n"
            f"sys.argv[:] = [{fake_acp.__file__!r}]\nrunpy.run_path({fake_acp.__file__!r}, run_name='__main__')\n"
        )
        models = ModelProxy(gate, limit=10_000_000, local=private / "model" / "model.sock")
        recorders.append(models)
        environment = {"PATH": os.environ["PATH"], **(env or {}), **({"OPENAI_BASE_URL": model} if model else {})}
        sealed = {"builtins_off": []} if boundary == "tools" else {}
        context = Context(
            agent=gate.owner, root=tool_lab.root, private=private, shared=private, tools=host, gate=gate, env=environment,
            spec=AgentSpec(kind="acp", boundary=boundary, options={"command": [sys.executable, str(program)], **sealed}),
            models=models, sandbox=box, network=network,
        )  # fmt: skip
        drivers.append(AcpDriver(context))
        return drivers[-1]

    yield make
    for driver in drivers:
        await driver.close(now=True)
    for models in recorders:
        await models.close()


def found(lab: Lab) -> dict[str, Any]:
    return dict(json.loads((lab.root / "found.json").read_text()))


def do(*steps: dict[str, Any]) -> str:
    return json.dumps(steps)


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
async def test_a_program_writes_the_workspace_and_its_own_and_does_not_see_agentlabs_home(
    tool_lab: Lab, make: Make, tmp_path: Path, rung: str
) -> None:
    (tool_lab.home / "agents" / "one").mkdir(parents=True)
    for name in ("secret", "agents/one/note"):
        (tool_lab.home / name).write_text("the secret")
    driver = make(
        rung,
        f"put('workspace', can(open, '{tool_lab.root}/new.txt', 'w'))\n"
        f"put('outside', can(open, '{tmp_path}/programs/new.txt', 'w'))\n"
        f"put('secret', can(open, '{tool_lab.home}/secret'))\n"
        f"put('note', can(open, '{tool_lab.home}/agents/one/note'))\n"
        f"can(open, '{tool_lab.home}/new.txt', 'w')\n"
        f"put('tools', can(open, '{tool_lab.home}/agents/one/mcp/mcp.token', 'a'))\n"
        "open(os.environ['TMPDIR'] + '/left', 'w').write('by the program')\n",
    )
    await driver.start()
    assert found(tool_lab) == {"workspace": True, "outside": False, "secret": False, "note": False, "tools": False}
    assert not (tool_lab.home / "new.txt").exists()
    turn = await driver.prompt(do({"call": ["write", {"path": "a.txt", "data": "by a tool of ours"}]}, {"say": "ok"}))
    assert (turn.status, (tool_lab.root / "a.txt").read_text()) == ("done", "by a tool of ours")
    call = {"call": ["run", {"command": "cat $TMPDIR/left > b.txt", "writes": ["b.txt"]}]}
    assert (await driver.prompt(do(call, {"say": "ok"}))).status == "done"
    assert (tool_lab.root / "b.txt").read_text() == "by the program", "its commands find what it left"


async def test_a_program_whose_tools_are_off_is_in_no_sandbox(tool_lab: Lab, make: Make, tmp_path: Path) -> None:
    driver = make(code=f"put('outside', can(open, '{tmp_path}/programs/new.txt', 'w'))", boundary="tools")
    await driver.start()
    assert found(tool_lab) == {"outside": True}


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
async def test_a_frozen_program_stands_still_and_nothing_is_left_when_it_is_closed(
    tool_lab: Lab, make: Make, rung: str
) -> None:
    driver = make(rung)
    await driver.start()
    assert (await driver.prompt(do({"daemon": 600}, {"say": "ok"}))).status == "done"
    members = processes.marked(driver._tree.mark, driver._tree.variable)
    assert len(members) >= 3, "the program, the proxy of its tools, what it has started"
    await driver.freeze()
    tree = [pid for root in driver.processes() for pid in processes.tree(root)]
    assert set(members) <= set(tree)
    assert {seen.state for pid in tree if (seen := processes.info(pid))} == {"T"}
    await driver.thaw()
    assert (await driver.prompt(do({"say": "awake"}))).output == "awake"
    await driver.close()
    await until(lambda: not any(processes.info(pid) for pid in [*tree, *members]))


async def test_a_program_that_reaches_only_its_model_reaches_that_through_the_record(
    tool_lab: Lab, make: Make, model: str
) -> None:
    """Whole, in both directions, also beside each other; and nobody else, not even the model's own address."""
    address = model.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as other:
        driver = make(
            network="model", model=f"{model}/v1",
            code="from urllib.request import urlopen\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "url = os.environ['OPENAI_BASE_URL'] + '/echo'\n"
            f"bodies = [bytes([65 + n]) * {BIG} for n in range(4)]\n"
            "with ThreadPoolExecutor(4) as pool:\n"
            "    answers = list(pool.map(lambda body: urlopen(url, body, timeout=60).read(), bodies))\n"
            "put('same', answers == bodies)\n"
            f"put('direct', can(socket.create_connection, ('127.0.0.1', {address[1]}), 60))\n"
            f"put('other', can(socket.create_connection, ('127.0.0.1', {other.getsockname()[1]}), 60))\n"
            "put('away', can(socket.create_connection, ('192.0.2.1', 80), 60))\n",
        )  # fmt: skip
        await driver.start()
    assert found(tool_lab) == {"same": True, "direct": False, "other": False, "away": False}
    gate = driver._context.gate
    await until(lambda: len(gate.of(ModelExchange)) == 4)  # type: ignore[attr-defined]
    assert {exchange.response_size for exchange in gate.of(ModelExchange)} == {BIG}  # type: ignore[attr-defined]
    place = tool_lab.home / "agents" / "one" / "model" / "model.sock"
    assert (place.stat().st_mode & 0o777, place.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_nobody_stays_at_the_door_when_the_program_has_ended(tmp_path: Path) -> None:
    """The end of its output comes when the last process of the namespace has gone."""
    made("bubblewrap", tmp_path, "model")
    door = Door(place=tmp_path / "model.sock", port=4711)
    box = Bubblewrap(program=probe_bubblewrap(), network=False).around(Needs(shown=(tmp_path,), door=door))
    code = "import socket; socket.create_connection(('127.0.0.1', 4711), 60); print('found')"
    ended = subprocess.run(
        box.argv(tmp_path, (), (sys.executable, "-I", "-c", code)),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "found\n"), ended.stderr


async def test_where_the_record_is_gone_the_program_sees_a_broken_connection(
    tool_lab: Lab, make: Make, model: str
) -> None:
    waits = f"{tool_lab.root}/go"
    driver = make(
        network="model", model=model,
        code="import threading, time, urllib.request\n"
        "url = os.environ['OPENAI_BASE_URL'] + '/echo'\n"
        "def later():\n"
        f"    while not os.path.exists('{waits}'): time.sleep(0.02)\n"
        f"    open('{tool_lab.root}/told', 'w').write(str(can(urllib.request.urlopen, url, b'x', 60)))\n"
        "threading.Thread(target=later, daemon=True).start()\n",
    )  # fmt: skip
    await driver.start()
    assert driver._context.models
    await driver._context.models.close()
    Path(waits).touch()
    await until(lambda: (tool_lab.root / "told").exists() and (tool_lab.root / "told").read_text() == "False")
    assert (await driver.prompt(do({"say": "it goes on"}))).output == "it goes on"


@pytest.mark.parametrize(
    ("rung", "network", "led", "said"),
    [
        (
            "bubblewrap",
            "none",
            True,
            r'network = "none" in config.toml leaves .* without its model. Say network = "model"',
        ),
        ("bubblewrap", "model", False, r'network = "model" in config.toml, and nobody here knows where the model of'),
        ("landlock", "model", True, "Landlock knows ports, not hosts.*Install bubblewrap"),
    ],
)
async def test_a_network_that_cannot_be_had_is_refused_and_never_another_one(
    tool_lab: Lab, make: Make, rung: str, network: Network, led: bool, said: str
) -> None:
    driver = make(rung, network=network, model="http://127.0.0.1:9" if led else "")
    with pytest.raises(Unavailable, match=said):
        await driver.start()
    assert not (tool_lab.root / "found.json").exists(), "it was not started"


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
async def test_a_program_that_needs_no_model_runs_without_network(
    tool_lab: Lab, make: Make, model: str, rung: str
) -> None:
    port = model.rpartition(":")[2]
    driver = make(rung, f"put('connected', can(socket.create_connection, ('127.0.0.1', {port}), 60))", network="none")
    await driver.start()
    assert found(tool_lab) == {"connected": False}


@pytest.mark.parametrize("rung", ["bubblewrap", "landlock"])
async def test_a_program_that_its_sandbox_ends_says_what_to_open(make: Make, tmp_path: Path, rung: str) -> None:
    driver = make(rung, f"open('{tmp_path}/programs/log', 'w')")
    with pytest.raises(AgentFailed, match=rf"It runs in a sandbox \({rung}\).*\[sandbox\] writable"):
        await driver.start()


async def test_a_program_that_is_killed_in_its_sandbox_fails_the_turn_and_leaves_nothing(make: Make) -> None:
    driver = make()
    await driver.start()
    tree = processes.tree(driver.processes()[0])
    os.kill(tree[0], signal.SIGKILL)
    turn = await driver.prompt(do({"sleep": 600}))
    assert (turn.status, turn.reason) == ("failed", "process")
    await until(lambda: not any(processes.info(pid) for pid in tree))


def test_a_link_that_a_program_put_in_the_way_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "settings.json").symlink_to(target)
    write_anew(tmp_path / "settings.json", "ours")
    assert (target.read_text(), (tmp_path / "settings.json").read_text()) == ("kept", "ours")
