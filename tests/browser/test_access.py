"""Nothing that axe-core finds serious, light, dark and in high contrast: the sidebar with all its sections in use, the console, the dialog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

import agentlab

from .lab import Lab


def violations(page: Lab, *within: str) -> list[str]:
    """What is serious or critical in these parts of the page, each with the first element that shows it."""
    found: dict[str, Any] = Axe().run(page.page, context={"include": [[one] for one in within]}).response
    assert found["passes"], "it looked at something"
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:300]} {each['nodes'][0].get('failureSummary', '')[:300]}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.fixture
def busy(page: Lab, lab: agentlab.Lab, work: Path, theme: str) -> Lab:
    """One who holds and asks, one who waits for it, one who failed, one who is done."""
    run = lab.run(f"busy-{theme}", workdir=work)
    run.spawn("script", name="done", steps=[{"write": ["b.py", "x\n"]}, {"run": ["echo", "hi"]}, {"say": "ok"}]).wait(
        60
    )
    run.spawn("script", name="failed", steps=[{"fail": "no luck"}]).wait(60)
    run.spawn("script", name="holder", steps=[{"claim": ["file:a.py"]}, {"ask": "go on?"}])
    page.section("locks").get_by_text("holder").first.wait_for()
    run.spawn("script", name="waiter", steps=[{"write": ["a.py", "x"]}])
    page.agent("waiter").get_by_text("held by holder").wait_for()
    page.section("approvals").get_by_text("go on?", exact=True).wait_for()
    return page


THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark", "contrast": "JupyterLab Dark High Contrast"}


@pytest.mark.parametrize("theme", THEMES)
def test_nothing_serious(busy: Lab, theme: str) -> None:
    busy.theme(THEMES[theme])
    busy.button(f"Open run busy-{theme}", busy.section("agents")).click()
    busy.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
    assert violations(busy, "#agentlab-panel") == []
    wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.className)"
    assert busy.panel.locator(".jp-agentlab-section").evaluate_all(wide) == [], "nothing is out of sight to the right"
    for tab in busy.console.get_by_role("tab").all():
        tab.click()
        assert violations(busy, ".jp-agentlab-console") == [], tab.inner_text()
    busy.button("Spawn an agent", busy.panel).click()
    busy.page.locator(".jp-Dialog .jp-agentlab-form").wait_for()
    busy.page.locator(".jp-Dialog").get_by_text("Advanced", exact=True).click()
    assert violations(busy, ".jp-Dialog") == []
