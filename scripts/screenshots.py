"""The README's pictures of JupyterLab: four real agent programs, their models scripted, in one folder; taken by a real browser.

python scripts/screenshots.py      writes docs/pictures/{sidebar,console}.png

Needs what `make test` installs: the programs of the vendors in .agents/, Chromium, and the built extension.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from headless import finish

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from agentlab import Lab, Run, connect  # noqa: E402
from agentlab.testing.scripted_model import ScriptedModel  # noqa: E402
from tests.browser import lab as labs  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"

API = '''\
import time

import httpx


def fetch(url: str) -> bytes:
    """The body of a page."""
    return httpx.get(url).content
'''
RETRIES = '''\
def fetch(url: str, tries: int = 3) -> bytes:
    """The body of a page. Raises the last error when all tries fail."""
    for left in reversed(range(tries)):
        try:
            return httpx.get(url).raise_for_status().content
        except httpx.HTTPError:
            if not left:
                raise
            time.sleep(0.5)
    raise ValueError("tries: at least 1")
'''
TESTS = """\
echo 'test_api.py ..'
until [ -e .venv/seen ]; do sleep 0.1; done
echo '2 passed'
"""  # they take as long as a picture of them does, on any machine
NOTES = "# Changes\n\n- (unreleased)\n"


def main() -> None:
    if why := labs.why_not():
        sys.exit(why)
    PICTURES.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = os.pathsep.join([str(ROOT / ".agents" / "node_modules" / ".bin"), os.environ["PATH"]])
    with tempfile.TemporaryDirectory(prefix="agentlab-pictures-") as folder:
        base = Path(folder).resolve()
        home = base / "home"
        try:
            with ScriptedModel() as model, connect(home) as lab:
                vendors = Vendors(model.url, base)
                find_programs(lab)
                warm(base / "warm", vendors)
                with labs.serve(base / "lab", home) as server, labs.browser() as chrome:
                    work = project(server.files / "shop")
                    with labs.visit(chrome, server) as page:
                        take(lab, page, vendors, work)
        finally:
            finish(home)
            finish(base / "warm")


def project(root: Path) -> Path:
    (root / "src").mkdir(parents=True)
    (root / "src" / "api.py").write_text(API)
    (root / "CHANGES.md").write_text(NOTES)
    (root / "tests.sh").write_text(TESTS)
    (root / ".venv").mkdir()
    return root


class Vendors:
    """How each program is told of its scripted model, in a home of its own."""

    def __init__(self, url: str, base: Path) -> None:
        self._base = base
        endpoint = {"baseURL": f"{url}/v1", "apiKey": "{env:SCRIPTED_KEY}"}
        limits = {"cost": {"input": 3, "output": 15}, "limit": {"context": 100_000, "output": 8000}}
        provider = {"npm": "@ai-sdk/openai-compatible", "options": endpoint, "models": {"scripted": limits}}
        self._of: dict[str, dict[str, Any]] = {
            "claude": {"model": "claude-sonnet-4-5", "env": {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "dummy"}},
            "codex": {"model": "gpt-5.5", "env": {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "dummy"}},
            "gemini": {
                "model": "gemini-2.5-flash", "env": {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "dummy"},
            },
            "opencode": {
                "model": "scripted/scripted", "env": {"SCRIPTED_KEY": "dummy"},
                "options": {"provider": {"scripted": provider}},
            },
        }  # fmt: skip

    def spawn(self, run: Run, kind: str, name: str, task: str, steps: list[dict[str, Any]], **spec: Any) -> Any:
        own = self._of[kind]
        home = self._base / f"home-{kind}"
        home.mkdir(exist_ok=True)
        env = {"PATH": os.environ["PATH"], "HOME": str(home), **own["env"]}
        return run.spawn(kind, f"{task} @do {json.dumps(steps)}", name=name, **{**own, "env": env}, **spec)


def call(tool: str, **args: Any) -> dict[str, Any]:
    return {"tool": tool, "args": args}


def find_programs(lab: Lab) -> None:
    """Wait until the plane has looked for them, with nothing else to do."""
    while not (found := [text for clis in lab.runtimes()["clis"] for text in clis]):
        time.sleep(0.5)
    if slow := [text for text in found if "unknown version" in text]:
        sys.exit(f"This machine is too busy for pictures: {', '.join(slow)}")


def warm(home: Path, vendors: Vendors) -> None:
    """opencode makes its database when it is first started: half a minute that would be most of the picture."""
    (work := home.with_name("warm-work")).mkdir()
    with connect(home) as lab, lab.run("warm", workdir=work) as run:
        vendors.spawn(run, "opencode", "scribe", "Say hello.", [{"say": "Hello."}]).wait(180).check()


def widen(page: labs.Lab, to: int) -> None:
    """Give the sidebar this much of the window, by the handle beside it."""
    handle = page.page.locator("#jp-main-split-panel > .lm-SplitPanel-handle:not(.lm-mod-hidden)").first
    box = handle.bounding_box()
    assert box is not None
    page.page.mouse.move(box["x"] + box["width"] / 2, 500)
    page.page.mouse.down()
    page.page.mouse.move(to, 500, steps=5)
    page.page.mouse.up()


def take(lab: Lab, page: labs.Lab, vendors: Vendors, work: Path) -> None:
    old = API[API.index("def fetch") :]
    line = "- (unreleased)"
    page.page.set_viewport_size({"width": 1440, "height": 1000})
    page.show_panel()
    widen(page, 372)
    with lab.run("retries", workdir=work) as run:
        spawn = vendors.spawn
        note = call("edit", path="CHANGES.md", old=line, new=f"{line}\n- fetch tries again")
        scribe = spawn(run, "opencode", "scribe", "Write the change down.", [call("read", path="src/api.py"), note, {"say": "Written down."}])  # fmt: skip
        change = [call("read", path="src/api.py"), call("edit", path="src/api.py", old=old, new=RETRIES)]
        test = call("run", argv=["bash", "tests.sh"])
        ann = spawn(run, "claude", "ann", "Make fetch try again.", [*change, test, {"say": "fetch tries three times now."}], claims=["file:src/api.py"])  # fmt: skip
        page.section("locks").get_by_text("ann").first.wait_for()
        types = call("edit", path="src/api.py", old="import time\n", new="from __future__ import annotations\n\nimport time\n")  # fmt: skip
        bob = spawn(run, "codex", "bob", "Postpone the annotations.", [types, {"say": "Done."}], claims=["file:src/api.py"])  # fmt: skip
        push = call("run", argv=["git", "push", "origin", "main"])
        cho = spawn(run, "gemini", "cho", "Publish it.", [push, {"say": "Not pushed, then."}], permissions=["ask tool=run"])  # fmt: skip
        page.agent("bob").get_by_text("held by ann").wait_for()
        page.section("approvals").get_by_text("push").first.wait_for()
        page.agent("ann").get_by_text("run", exact=True).or_(page.agent("ann").get_by_text("· run")).first.wait_for()
        scribe.wait(120).check()
        page.button("Open run retries", page.section("agents")).click()
        page.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
        page.console.locator(".jp-agentlab-run-badge.jp-mod-live").wait_for()
        shoot(page, "sidebar")
        (work / ".venv" / "seen").touch()
        page.button("Deny…", page.section("approvals")).click()
        page.section("approvals").get_by_label("Reason").fill("after the review")
        page.button("Deny", page.section("approvals")).click()
        for agent in (ann, bob, cho):
            agent.wait(120)
    page.dark()
    page.console.get_by_role("tab", name="Diffs").click()
    page.console.get_by_role("button", name="Show everything (0)").click()
    page.console.locator(".jp-agentlab-run-pane").get_by_text("ann", exact=True).last.click()
    page.console.get_by_text("for left in").first.wait_for()
    page.button("Close", page.console).click()
    shoot(page, "console")


def shoot(page: labs.Lab, name: str) -> None:
    page.page.mouse.move(700, 990)
    page.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.page.screenshot(path=str(PICTURES / f"{name}.png"), animations="disabled")


if __name__ == "__main__":
    main()
