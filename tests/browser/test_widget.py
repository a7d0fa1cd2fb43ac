"""Agents in the output of a cell, in a real notebook in a real browser."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

import agentlab

from .lab import Lab

pytest.importorskip("ipykernel")

CELL = """
%load_ext agentlab
import agentlab
from agentlab.notebook import display as views
views.RENEW = 0.5
run = agentlab.connect().run('shown', workdir={workdir!r})
ann = run.spawn('script', name='ann', steps={ann!r})
bob = run.spawn('script', name='bob', steps={bob!r})
run
"""


def test_a_view_whose_kernel_was_restarted_says_of_when_it_is_and_offers_no_stop(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    asks = [{"ask": "go on?"}]
    cell = CELL.format(workdir=str(work), ann=asks, bob=asks)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), work / "again.ipynb")
    page.run_notebook(f"{work.name}/again.ipynb")
    view = page.page.locator(".jp-OutputArea .agentlab-fleet")
    view.locator("tr", has_text="bob").get_by_text("asks: go on?").wait_for()
    assert view.locator(".agentlab-stop:visible").count() == 2
    page.page.evaluate("() => void window.jupyterapp.commands.execute('kernelmenu:restart')")
    page.page.locator(".jp-Dialog .jp-mod-accept:visible, .jp-Dialog .jp-mod-warn:visible").last.click()
    view.get_by_text("the kernel says nothing since").wait_for()
    assert view.locator(".agentlab-stop:visible").count() == 0
    assert [lab.agent(name).row()["status"] for name in ("ann", "bob")] == ["blocked"] * 2, "nothing is lost by it"


def test_a_view_stays_as_it_is_while_its_output_is_brought_up_to_date_and_says_when_it_is_old(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    ann, bob = [{"ask": "go on?"}, {"run": ["sleep", "600"]}], [{"run": ["sleep", "600"]}]
    cell = CELL.format(workdir=str(work), ann=ann, bob=bob)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell)]), work / "shown.ipynb")
    page.run_notebook(f"{work.name}/shown.ipynb")
    view = page.page.locator(".jp-OutputArea .agentlab-fleet")
    row = view.locator("tr", has_text="bob")
    row.get_by_text("running").wait_for()
    page.button("Stop bob", view).focus()
    view.evaluate("node => { node.marked = true }")
    page.page.evaluate(
        """() => {
            window.moved = 0;
            const area = document.querySelector('.jp-OutputArea');
            new MutationObserver(all => all.forEach(one => one.addedNodes.forEach(node => {
                window.moved += node.querySelector?.('.agentlab-fleet') || node.matches?.('.agentlab-fleet') ? 1 : 0;
            }))).observe(area, { childList: true, subtree: true });
        }"""
    )
    lab.agent("ann").answer("yes")
    page.page.wait_for_function("() => window.moved > 0")
    page.page.wait_for_function("() => document.activeElement?.getAttribute('aria-label') === 'Stop bob'")
    assert view.count() == 1 and view.evaluate("node => node.marked") is True
    page.run("docmanager:save")
    (saved,) = nbformat.read(work / "shown.ipynb", as_version=4).cells[0].outputs
    assert "as of 20" in saved.data["text/html"] and "running" in saved.data["text/html"]
    agentlab.discovery.stop(page.server.home)
    view.get_by_text("as of").wait_for()
    assert view.locator(".agentlab-stop:visible").count() == 0
    lab.state()
    view.get_by_text("as of").wait_for(state="detached")
    page.button("Stop bob", view).click()
    row.get_by_text("cancelled").first.wait_for()
