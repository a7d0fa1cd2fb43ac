"""JupyterHub as an institution has it: a real hub behind its real proxy, a server process for each user, on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from agentlab import discovery
from tests.stack.conftest import of_home, until

PROXY = Path(__file__).parents[2] / ".agents" / "node_modules" / ".bin" / "configurable-http-proxy"
PASSWORD = "sesame, open"
BASE = "/hubs/"
DEADLINE = 120.0  # s: a user's server is a JupyterLab that starts

# LOGNAME: as in an image for a hub, where everybody is the same user of the system.
CONFIG = """
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{proxy}{base}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api}"
c.ConfigurableHTTPProxy.command = [{command!r}]
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allowed_users = {{"ann", "bob"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {people!r} + "/{{username}}"
c.Spawner.environment = {environment!r}
c.Spawner.args = ["--allow-root", "--LabApp.news_url=None", "--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
"""


@dataclass(frozen=True)
class Hub:
    """url: of the proxy, with the hub's base. home: of the plane that all users' servers find; people: users' own folders."""

    url: str
    home: Path
    people: Path
    log: Path

    def server(self, user: str) -> str:
        return f"{self.url}user/{user}/"

    @contextlib.contextmanager
    def users(self, *names: str) -> Iterator[list[Person]]:
        """They have logged in, and each has a server."""
        people = [Person(self, name) for name in names]
        for person in people:
            person.log_in()
        for person in people:
            person.open_lab()
        yield people
        for person in people:
            person.client.close()


def why_not() -> str:
    """What is missing for a hub here; empty: nothing."""
    if shutil.which("node") is None:
        return "no Node here for JupyterHub's proxy"
    if not PROXY.exists():
        return "configurable-http-proxy is not installed in .agents: `bash scripts/agents.sh` says why"
    return ""


@contextlib.contextmanager
def serve(*labextensions: Path) -> Iterator[Hub]:
    """A hub without users yet. Afterwards nothing of it is left running. labextensions: what JupyterLab finds besides its own."""
    base = Path(tempfile.mkdtemp(prefix="agentlab-hub-")).resolve()
    home, log = base / "agentlab", base / "hub.log"
    share = base / "share" / "labextensions"
    share.mkdir(parents=True)
    for folder in labextensions:
        (share / "agentlab").symlink_to(folder)
    with free_ports(3) as (proxy, hub, api):
        (base / "jupyterhub_config.py").write_text(CONFIG.format(
            proxy=proxy, hub=hub, api=api, base=BASE, command=str(PROXY), password=PASSWORD, people=str(base / "people"),
            environment={"AGENTLAB_HOME": str(home), "JUPYTER_PATH": str(base / "share"), "LOGNAME": "jovyan"},
        ))  # fmt: skip
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AGENTLAB_", "JUPYTER"))}
    env |= {"HOME": str(base), "AGENTLAB_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{env['PATH']}"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub"], cwd=base, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{proxy}{BASE}"
        wait_for(process, f"{url}hub/health", log)
        yield Hub(url, home, base / "people", log)
        process.send_signal(signal.SIGTERM)
        process.wait(DEADLINE)
        if home.exists():
            discovery.stop(home, force=True)
        until(lambda: not of_home(home), "the end of the hub, its servers and its plane")
    finally:
        for pid in of_home(home, spare=True):
            os.kill(pid, signal.SIGKILL)
        process.wait(DEADLINE)
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Held all at once, so that none is given twice."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        yield [probe.getsockname()[1] for probe in probes]


def wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE
    with httpx.Client(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get(url).status_code == 200:
                    return
            well = process.poll() is None and time.monotonic() < deadline
            assert well, f"JupyterHub did not start:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)


class Person:
    """A browser, with a user of the hub before it: `client` keeps the cookies and follows where it is sent."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.hub = hub
        self.name = name
        self.server = hub.server(name)
        self.client = httpx.Client(timeout=DEADLINE, trust_env=False, follow_redirects=True)

    def log_in(self) -> None:
        """The login starts the user's server, which is not there yet."""
        self.client.get(f"{self.hub.url}hub/login").raise_for_status()
        form = {"username": self.name, "password": PASSWORD, "_xsrf": self._cookie(f"{BASE}hub/")}
        self.client.post(f"{self.hub.url}hub/login", data=form).raise_for_status()

    def open_lab(self) -> None:
        """The server is there, and has let its user in: with a cookie of its own, by way of the hub."""
        until(
            lambda: self.client.get(f"{self.hub.url}hub/api/users/{self.name}").json()["server"],
            f"{self.name}'s server",
        )
        answer = self.client.get(f"{self.server}lab")
        assert (answer.status_code, str(answer.url)) == (200, f"{self.server}lab"), answer.text[:500]

    def get(self, path: str) -> httpx.Response:
        """Below the user's server."""
        return self.client.get(self.server + path)

    def post(self, path: str, body: object) -> httpx.Response:
        return self.client.post(self.server + path, json=body, headers=self.xsrf)

    def stop_server(self) -> None:
        self._of_the_hub("DELETE", "server")
        until(
            lambda: not self.client.get(f"{self.hub.url}hub/api/users/{self.name}").json()["server"], "the server's end"
        )

    def start_server(self) -> None:
        self._of_the_hub("POST", "server")

    def token(self) -> str:
        """One that the hub makes for a program of its user."""
        return str(self._of_the_hub("POST", "tokens").json()["token"])

    @property
    def xsrf(self) -> dict[str, str]:
        return {"X-XSRFToken": self._cookie(f"{BASE}user/{self.name}/")}

    @property
    def cookies(self) -> str:
        """For a socket."""
        return "; ".join(
            f"{each.name}={each.value}" for each in self.client.cookies.jar if self.server.endswith(each.path)
        )

    def _of_the_hub(self, method: str, what: str) -> httpx.Response:
        headers = {"X-XSRFToken": self._cookie(f"{BASE}hub/")}
        return self.client.request(
            method, f"{self.hub.url}hub/api/users/{self.name}/{what}", json={}, headers=headers
        ).raise_for_status()  # fmt: skip

    def _cookie(self, path: str) -> str:
        """The `_xsrf` of a path: the hub's and a server's are not the same."""
        (value,) = [each.value for each in self.client.cookies.jar if (each.name, each.path) == ("_xsrf", path)]
        assert value
        return value
