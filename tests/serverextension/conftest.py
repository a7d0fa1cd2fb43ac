"""A real Jupyter server with its token and XSRF on, below a base url of its own, beside a real plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from jupyter_server.extension import serverextension
from jupyter_server.serverapp import ServerApp
from traitlets.config import Config
from websockets.asyncio.client import ClientConnection, connect

import agentlab
from agentlab import discovery
from tests.stack.conftest import home, kill_plane, until  # noqa: F401

TOKEN = "sesame"
BASE = "/user/ann%40home/"
DEADLINE = 60.0  # s


class Jupyter:
    """A server, and a browser before it: `browser` is logged in with a cookie, `script` sends the token with each request."""

    def __init__(self, app: ServerApp) -> None:
        self.app = app
        self.url = f"http://127.0.0.1:{app.port}{BASE}"
        self.script = self.client(headers={"Authorization": f"token {TOKEN}"})
        self.browser = self.client()
        self.stranger = self.client()

    def client(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=DEADLINE, trust_env=False, **options)

    async def log_in(self) -> None:
        """Leaves a session and an `_xsrf` cookie."""
        answer = await self.browser.get("tree", params={"token": TOKEN}, follow_redirects=True)
        assert "_xsrf" in self.browser.cookies, answer.status_code

    @property
    def xsrf(self) -> dict[str, str]:
        return {"X-XSRFToken": self.browser.cookies["_xsrf"]}

    def socket(self, path: str, **headers: str) -> connect:
        headers.setdefault("Authorization", f"token {TOKEN}")
        return connect(
            self.url.replace("http", "ws", 1) + path,
            proxy=None,
            additional_headers={k: v for k, v in headers.items() if v},
        )


def end_agents(home: Path) -> None:  # noqa: F811
    """A runner that lives on waits for somebody to start its plane again."""
    if discovery.read(home) is not None:
        with agentlab.connect(home) as lab:
            live = [row for row in lab.state()["tables"]["agents"].values() if row["ended"] is None]
            for row in live:
                lab.agent(row["agent"]).stop(now=True)
            for row in live:
                lab.agent(row["agent"]).wait(DEADLINE)


@pytest.fixture
def quiet_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's Jupyter settings, and nothing left in them."""
    for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "1")
    monkeypatch.delenv("AGENTLAB_TOKEN", raising=False)
    monkeypatch.setattr(serverextension, "ENV_CONFIG_PATH", [])


@pytest.fixture
async def serve(tmp_path: Path, quiet_places: None, home: Path) -> AsyncIterator[Callable[..., Awaitable[Jupyter]]]:  # noqa: F811
    """Start a server: `await serve(AgentLabApp={...}, ServerApp={...})`."""
    files = tmp_path / "files"
    files.mkdir()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, end_agents, home)

        async def started(**settings: dict[str, Any]) -> Jupyter:
            config = Config(settings)
            config.IdentityProvider.token = TOKEN
            config.ServerApp.jpserver_extensions = {"agentlab": True}
            if "mode" not in config.AgentLabApp:
                config.AgentLabApp.home = str(home)
            ServerApp.clear_instance()
            app = ServerApp.instance(
                config=config, ip="127.0.0.1", port=0, base_url=BASE, open_browser=False, allow_root=True,
                root_dir=str(files), log_level="WARN",
            )  # fmt: skip
            app.init_signal = lambda: None
            app.initialize(argv=[])
            stack.callback(ServerApp.clear_instance)
            stack.push_async_callback(app._cleanup)
            app.start_app()
            while not app.http_server._sockets:  # it binds in the next turns of the loop
                await asyncio.sleep(0.005)
            jupyter = Jupyter(app)
            for client in (jupyter.script, jupyter.browser, jupyter.stranger):
                stack.push_async_callback(client.aclose)
            return jupyter

        yield started


@pytest.fixture
async def jupyter(serve: Callable[..., Awaitable[Jupyter]]) -> Jupyter:
    return await serve()


async def next_of(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), DEADLINE))
