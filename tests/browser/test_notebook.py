"""Notebook 7, which is not JupyterLab: one document a page, sidebars that are folded, no status bar, no launcher. It has what it has a place for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, expect

import agentlab

from . import lab as labs
from .conftest import served

PLUGINS = ["agentlab:console", "agentlab:model", "agentlab:plugin"]
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}  # else it asks for one
KERNEL_IDLE = "() => window.jupyterapp.shell.currentWidget?.sessionContext.session?.kernel?.status === 'idle'"
ACTIVE = """() => window.jupyterapp.started.then(() => window.jupyterapp.listPlugins().filter(
    id => id.startsWith('agentlab:') && window.jupyterapp.isPluginActivated(id)))"""
WORKS = [{"run": ["sleep", "600"]}]
SAYS = [{"write": ["a.py", "x = 1\n"]}, {"say": "written"}]
CELLS = [
    """
%load_ext agentlab
import agentlab
run = agentlab.connect().run({name!r}, workdir={workdir!r})
ann = run.spawn('script', name='ann', steps=[{{"run": ["sleep", "600"]}}])
run
""",
    "%agent ps",
]


class Notebook(labs.Lab):
    """A page of Notebook 7, seen as a person sees it."""

    def listen(self) -> None:
        """It has errors of its own; what counts is whatever names agentlab, or comes of it."""
        self.page.on("pageerror", lambda error: self._heard(f"{error}\n{error.stack}"))
        self.page.on("console", lambda said: said.type in ("error", "warning") and self._heard(said.text))

    def _heard(self, words: str) -> None:
        if "agentlab" in words and "WebSocket connection" not in words:  # a page that is left leaves its sockets
            self.errors.append(words)

    def open(self) -> None:
        """The page of files."""
        self.page.goto(f"{self.server.url}tree?token={labs.TOKEN}")
        self.page.locator(".jp-FileBrowser").wait_for()

    def open_notebook(self, path: Path, *cells: str) -> None:
        """A notebook of these cells, with a kernel."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells], metadata=PYTHON)
        nbformat.write(made, path)
        self.page.goto(f"{self.server.url}notebooks/{path.relative_to(self.server.files)}")
        self.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        self.page.wait_for_function(KERNEL_IDLE)

    def menu(self, *path: str) -> None:
        """Press an entry of the main menu."""
        self.page.locator("#jp-MainMenu .lm-MenuBar-item", has_text=re.compile(f"^{path[0]}$")).click()
        for label in path[1:]:
            self.page.locator(".lm-Menu-item:visible", has_text=re.compile(f"^{label}")).last.click()

    def palette(self, label: str) -> None:
        """Do what stands there under that name."""
        self.menu("View", "Activate Command Palette")
        self.page.locator(".lm-CommandPalette-input").fill(label)
        self.page.locator(".lm-CommandPalette-item.lm-mod-active", has_text=label).wait_for()
        self.page.keyboard.press("Enter")

    @property
    def below(self) -> Locator:
        """The area below the document."""
        return self.page.locator("#jp-down-stack")

    @property
    def front(self) -> Locator:
        """The tab there that is in front."""
        return self.below.locator(".lm-TabBar-tab.lm-mod-current")


@pytest.fixture(scope="module")
def server() -> Iterator[labs.Server]:
    pytest.importorskip("notebook")
    with served(app="notebook") as server:
        yield server


@pytest.fixture
def page(chrome, server: labs.Server) -> Iterator[Notebook]:
    """The page of files. Nothing of agentlab goes wrong, or is complained of, in whatever is opened there."""
    with labs.visit(chrome, server, Notebook) as page:
        yield page
        assert page.errors == []


def active(page: Notebook) -> list[str]:
    return sorted(page.page.evaluate(ACTIVE))


def test_every_plugin_is_active_on_every_page_and_the_sidebar_is_where_notebook_has_sidebars(
    page: Notebook, lab: agentlab.Lab, work: Path
) -> None:
    amy = f"amy-{work.name[-5:]}"
    lab.run("seen", workdir=work).spawn("script", name=amy, steps=[{"claim": ["file:a.py"]}, *WORKS])
    (work / "text.txt").write_text("not a notebook")
    page.page.locator("#jp-MainMenu .lm-MenuBar-item", has_text="Agents").wait_for()
    assert active(page) == PLUGINS
    page.menu("Agents", "Show Agents, Locks and Approvals")
    page.agent(amy).get_by_text("running", exact=True).wait_for()
    page.page.goto(f"{page.server.url}edit/{work.name}/text.txt")
    page.page.locator(".jp-FileEditor").wait_for()
    assert active(page) == PLUGINS
    page.open_notebook(work / "empty.ipynb", "")
    assert active(page) == PLUGINS
    page.menu("View", "Left Sidebar", "Show agentlab")
    page.agent(amy).get_by_text("running", exact=True).wait_for()
    page.section("locks").get_by_text(amy).first.wait_for()
    page.agent(amy).hover()
    page.button(f"Stop {amy}").click()
    page.agent(amy).get_by_text("cancelled", exact=True).wait_for()


def test_a_run_in_a_cell_is_live_and_the_magic_works(page: Notebook, lab: agentlab.Lab, work: Path) -> None:
    name = f"shown-{work.name[-5:]}"
    page.open_notebook(work / "shown.ipynb", *(cell.format(name=name, workdir=str(work)) for cell in CELLS))
    page.menu("Run", "Run All Cells")
    first, second = page.page.locator(".jp-Notebook .jp-Cell").all()
    row = first.locator(".jp-OutputArea .agentlab-fleet tr", has_text="ann")
    row.get_by_text("running").wait_for()
    second.locator(".jp-OutputArea-output", has_text="ann").wait_for()
    page.button("Stop ann", first).click()
    row.get_by_text("cancelled").first.wait_for()
    assert lab.agent(f"{name}/ann").row()["status"] == "cancelled"


def test_runs_open_below_the_document_each_in_a_tab(page: Notebook, lab: agentlab.Lab, work: Path) -> None:
    runs = [lab.run(f"{name}-{work.name[-6:]}", workdir=work) for name in ("first", "second")]
    for run in runs:
        run.spawn("script", name="ann", steps=SAYS).wait(60)
    page.open_notebook(work / "beside.ipynb", "")
    cells = page.page.locator(".jp-Notebook .jp-Cell")
    page.palette("Show Agents, Locks and Approvals")
    for run in runs:
        page.button(f"Open run {run.name}", page.section("agents")).click()
        expect(page.front).to_contain_text(run.name)
        page.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
        expect(page.console).to_have_attribute("aria-label", f"Run {run.name}")
    timeline = page.console.locator(".agentlab-timeline canvas").first.bounding_box()
    assert timeline and timeline["height"] > 60, "it has room to be looked at"
    expect(cells).to_have_count(1)
    page.console.get_by_role("button", name=re.compile("Insert as code")).click()
    expect(cells).to_have_count(2)
    expect(cells.last).to_contain_text(f'run_named("{runs[1].run_id}")')
    page.palette("Open run…")
    choice = page.page.locator(".jp-Dialog")
    choice.locator("select").wait_for()
    offered = choice.locator("option").all_inner_texts()
    choice.locator("select").select_option(next(each for each in offered if runs[0].run_id in each))
    page.button("Ok", choice).click()
    expect(page.front).to_contain_text(runs[0].name)
    expect(page.below.locator(".lm-TabBar-tab")).to_have_count(2)  # it was open, and came to the front
    for left in (1, 0):
        page.front.locator(".lm-TabBar-tabCloseIcon").click()
        expect(page.below.locator(".lm-TabBar-tab")).to_have_count(left)
    expect(page.below).to_be_hidden()
    page.button(f"Open run {runs[0].name}", page.section("agents")).click()
    page.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
