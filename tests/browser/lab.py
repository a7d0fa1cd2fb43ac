"""JupyterLab as a person has it: a server process with its token and XSRF on, below a base URL, and a real Chromium before it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "agentlab" / "labextension"
TOKEN = "sesame"
BASE = "/user/x/"
DEADLINE = 90.0  # s
SIZE = (1440, 900)

SETTINGS = {
    "@jupyterlab/apputils-extension/notification.jupyterlab-settings": '{"fetchNews": "false", "checkForUpdates": false}',
}
"""Nothing pops up that is not ours."""

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-color-profile=srgb",
]  # fmt: skip
"""Nothing is fetched from outside, and no root user's sandbox is asked for."""


def why_not() -> str:
    """What is missing for a real browser here, and what to do about it; empty: nothing."""
    if chromium() is None:
        return "no Chromium here; as root: bash scripts/browser.sh"
    if not (BUILT / "package.json").is_file():
        return "the extension is not built; `make labextension` does that"
    return ""


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@dataclass
class Server:
    """A process of Jupyter. `home`: of the plane that its gateway finds or starts."""

    url: str
    home: Path
    files: Path
    process: subprocess.Popen[bytes]
    log: Path

    def lab_url(self, *, reset: bool = True) -> str:
        return f"{self.url}lab?token={quote(TOKEN)}{'&reset' if reset else ''}"


@contextlib.contextmanager
def serve(
    base: Path,
    home: Path,
    *,
    app: str = "jupyterlab",
    settings: dict[str, str] | None = None,
    packages: Path | None = None,
    enabled: bool = True,
) -> Iterator[Server]:
    """A server with nothing of the machine's Jupyter. app: the package that is started, `jupyterlab` or `notebook`. settings:
    overrides of JupyterLab, as file of its plugin's name to JSON. packages: a folder with packages that are installed for it alone.
    enabled: whether it has our extension switched on."""
    files = base / "files"
    files.mkdir(parents=True, exist_ok=True)
    share = base / "share" / "labextensions"
    share.mkdir(parents=True, exist_ok=True)
    if not (share / "agentlab").exists():
        (share / "agentlab").symlink_to(BUILT)
    for name, text in {**SETTINGS, **(settings or {})}.items():
        path = base / "config" / "lab" / "user-settings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    page_config = base / "config" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True, exist_ok=True)
    off = {"@jupyter-notebook/lab-extension": app == "jupyterlab", "agentlab": not enabled}
    # Else each page has the server start Node three times, to look whether it should be built anew.
    no_build = {"buildCheck": False}
    page_config.write_text(json.dumps({"disabledExtensions": off, **no_build}))
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AGENTLAB_", "JUPYTER_"))},
        "HOME": str(base), "IPYTHONDIR": str(base / "ipython"), "JUPYTER_CONFIG_DIR": str(base / "config"),
        "JUPYTER_DATA_DIR": str(base / "data"), "JUPYTER_RUNTIME_DIR": str(base / "runtime"),
        "JUPYTER_PATH": str(base / "share"), "JUPYTERLAB_SETTINGS_DIR": str(base / "config" / "lab" / "user-settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(base / "workspaces"), "AGENTLAB_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "JUPYTER_TOKEN": TOKEN,
        **({"PYTHONPATH": str(packages)} if packages else {}),
    }  # fmt: skip
    port = free_port()
    argv = [
        sys.executable, "-m", app, "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.base_url={BASE}", f"--ServerApp.root_dir={files}",
        "--ServerApp.jpserver_extensions={'agentlab': True}", "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True",
    ]  # fmt: skip
    log = base / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(argv, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=files, start_new_session=True)  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}{BASE}"
        wait_for_server(process, f"{url}api?token={TOKEN}", log)
        yield Server(url, home, files, process, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            with opener.open(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            gone = process.poll() is not None
            assert not gone and time.monotonic() < deadline, f"Jupyter did not start:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium(), args=FLAGS, headless=True)
        try:
            yield chrome
        finally:
            chrome.close()


@dataclass
class Lab:
    """A page with JupyterLab in it, seen as a person sees it."""

    page: Page
    server: Server
    errors: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self) -> None:
        self.page.goto(self.server.lab_url(), wait_until="load")
        self.page.locator("#jp-main-dock-panel").wait_for(timeout=DEADLINE * 1000)
        self.page.locator(".jp-SideBar .lm-TabBar-tab[title^=agentlab]").wait_for()

    @property
    def tab(self) -> Locator:
        return self.page.locator(".jp-SideBar .lm-TabBar-tab[title^=agentlab]")

    @property
    def panel(self) -> Locator:
        return self.page.locator("#agentlab-panel")

    def show_panel(self) -> None:
        if not self.panel.is_visible():
            self.tab.click()
        self.panel.wait_for()

    def section(self, name: str) -> Locator:
        return self.panel.locator(f".jp-agentlab-section-{name}")

    def agent(self, name: str) -> Locator:
        return self.section("agents").locator(".jp-agentlab-agent").filter(
            has=self.page.locator(".jp-agentlab-strong", has_text=name)
        )  # fmt: skip

    def button(self, name: str, within: Locator | None = None) -> Locator:
        return (within or self.page).get_by_role("button", name=name, exact=True)

    @property
    def console(self) -> Locator:
        return self.page.locator(".jp-agentlab-console:visible")

    def theme(self, name: str) -> None:
        """A theme of the Settings menu, by the command behind it."""
        self.run("apputils:change-theme", {"theme": name})
        self.page.locator(f'body[data-jp-theme-name="{name}"]').wait_for(state="attached")

    def dark(self) -> None:
        self.theme("JupyterLab Dark")

    def run(self, command: str, args: dict[str, object] | None = None) -> None:
        """A command of JupyterLab, as the palette would. Needs `--expose-app-in-browser`."""
        self.page.evaluate(
            "([id, args]) => window.jupyterapp.commands.execute(id, args).then(() => null)", [command, args or {}]
        )

    def run_notebook(self, path: str) -> None:
        """Open it with a kernel of its own, and have all its cells executed. path: relative to the root of the server."""
        self.run("docmanager:open", {"path": path, "kernel": {"name": "python3"}})
        self.page.locator(".jp-Notebook .jp-Cell").wait_for()
        self.page.locator("#jp-main-statusbar").get_by_text("Idle").wait_for()
        self.run("notebook:run-all-cells")


LabT = TypeVar("LabT", bound=Lab)


@contextlib.contextmanager
def visit(chrome: Browser, server: Server, kind: type[LabT] = Lab) -> Iterator[LabT]:
    """A fresh profile with JupyterLab open, or what else is a `Lab`. Errors of the page are kept in `errors`."""
    context = chrome.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(float(os.environ.get("BROWSER_TIMEOUT", DEADLINE)) * 1000)
    page = context.new_page()
    lab = kind(page, server)
    lab.listen()
    try:
        lab.open()
        yield lab
    except BaseException:
        with contextlib.suppress(Exception):
            page.screenshot(path=str(server.log.parent / "failed.png"))
        raise
    finally:
        context.close()
