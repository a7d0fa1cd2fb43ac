"""The view of a run outside of JupyterLab: the module that VS Code and Colab load too, with a host that is no more than anywidget's contract."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe

import agentlab
from agentlab.client import fleet
from agentlab.notebook.fleet import BUNDLE, FleetWidget
from agentlab.trace.packed import packed
from tests.stack.conftest import home, until  # noqa: F401

from .lab import DEADLINE

if TYPE_CHECKING:
    from playwright.sync_api import Page

VSCODE = """<body class="vscode-{kind}" data-vscode-theme-kind="vscode-{kind}" style="--vscode-editor-background: {back};
  --vscode-editor-foreground: {fore}; --vscode-descriptionForeground: {faint}; --vscode-panel-border: #80808059;
  --vscode-focusBorder: #007fd4; --vscode-font-family: sans-serif; background: {back}; color: {fore}">"""
COLAB = """<body style="background: {back}; color: {fore}; font-family: Roboto, sans-serif">"""
HOSTS = {
    "vscode-light": (VSCODE.format(kind="light", back="#ffffff", fore="#3b3b3b", faint="#3b3b3b"), False),
    "vscode-dark": (VSCODE.format(kind="dark", back="#1f1f1f", fore="#cccccc", faint="#9d9d9d"), True),
    "colab-light": (COLAB.format(back="#ffffff", fore="#212121"), False),
    "colab-dark": (COLAB.format(back="#383838", fore="#d5d5d5"), True),
}

HOST = """
async ([source, traits]) => {
    const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
    const { default: made } = await import(url);
    URL.revokeObjectURL(url);
    const listeners = new Map();
    window.sent = [];
    const bytes = text => new DataView(Uint8Array.from(atob(text), each => each.charCodeAt(0)).buffer);
    const values = { ...traits, spans: bytes(traits.spans) };
    const model = {
        get: name => values[name],
        set: () => { throw new Error('the view sets nothing: its state is the kernel\\'s'); },
        save_changes: () => undefined,
        on: (name, call) => listeners.set(name, [...(listeners.get(name) ?? []), call]),
        off: (name, call) => listeners.set(name, (listeners.get(name) ?? []).filter(each => each !== call)),
        send: content => window.sent.push(structuredClone(content)),
    };
    const only = new Proxy(model, { get: (of, name) => {
        if (name in of) return of[name];
        throw new Error(`no part of the contract: model.${String(name)}`);
    } });
    window.told = (name, value) => { values[name] = value; listeners.get(`change:${name}`)?.forEach(call => call()); };
    window.heard = () => [...listeners.values()].flat().length;
    const widget = typeof made === 'function' ? await made() : made;
    await widget.initialize?.({ model: only });
    const el = document.body.appendChild(document.createElement('div'));
    el.id = 'output';
    window.leave = await widget.render({ model: only, el });
}
"""


@pytest.fixture
def lab(home: Path) -> Iterator[agentlab.Lab]:  # noqa: F811
    with agentlab.connect(home) as lab:
        yield lab
        for agent in lab.agents().to_dict("records"):
            if agent["status"] not in ("done", "failed", "cancelled"):
                lab.agent(f"{agent['run_id']}/{agent['name']}").stop(now=True)


@pytest.fixture
def run(lab: agentlab.Lab, tmp_path: Path) -> agentlab.Run:
    """One who holds and works, one who waits for it, one who is done."""

    def row(name: str) -> dict[str, Any]:
        (found,) = [each for each in lab.state()["tables"]["agents"].values() if each["name"] == name]
        return found

    run = lab.run("shown", workdir=tmp_path)
    run.spawn("script", name="done", steps=[{"write": ["b.py", "x\n"]}]).wait(DEADLINE)
    run.spawn("script", name="holder", steps=[{"claim": ["file:a.py"]}, {"run": ["sleep", "600"]}])
    until(lambda: "file:a.py" in row("holder")["holds"], "who holds")
    run.spawn("script", name="waiter", steps=[{"write": ["a.py", "x"]}])
    until(lambda: row("waiter")["status"] == "waiting", "who waits")
    return run


@pytest.fixture
def page(chrome) -> Iterator[Page]:
    """A page with nothing in it, that may fetch nothing."""
    context = chrome.new_context(viewport={"width": 900, "height": 700}, reduced_motion="reduce")
    context.set_default_timeout(DEADLINE * 1000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith("blob:") else wrong.append(asked.url))
    yield page
    context.close()
    assert wrong == []


def traits(run: agentlab.Run, widget: FleetWidget) -> dict[str, Any]:
    """What a kernel tells of the widget."""
    spans = fleet.quiet_spans(run)
    assert spans is not None
    data, lanes, texts, _, origin = packed(spans)
    widget.draw(data, lanes, texts, origin)
    return {
        "state": widget.state,
        "lost": widget.lost,
        "picture": widget.picture,
        "spans": base64.b64encode(widget.spans).decode(),
    }


@pytest.mark.parametrize("host", HOSTS)
def test_agents_are_seen_read_and_stopped_in_a_host_that_is_not_jupyterlab(
    page: Page, run: agentlab.Run, lab: agentlab.Lab, host: str
) -> None:
    asked: list[tuple[str, bool]] = []
    widget = FleetWidget(lambda key, now: asked.append((key, now)), run._fleet(lab._tables()))
    body, dark = HOSTS[host]
    page.set_content(f"<!doctype html><html lang=en><title>{host}</title>{body}<main></main></body></html>")
    page.evaluate(HOST, [BUNDLE.read_text(), traits(run, widget)])
    view = page.locator("#output .agentlab-fleet")
    view.get_by_text("1 of 3 ended, 1 waiting").wait_for()
    assert view.get_by_role("progressbar").evaluate("bar => [bar.value, bar.max]") == [1, 3]
    assert "held by holder" in view.locator("tr", has_text="waiter").inner_text()
    page.wait_for_function("() => document.querySelector('canvas')?.width > 0")
    pixel = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
        const canvas = document.querySelector('canvas');
        done([...canvas.getContext('2d').getImageData(canvas.width - 3, canvas.height - 3, 1, 1).data]);
    })))"""
    assert (sum(page.evaluate(pixel)[:3]) < 3 * 100) is dark, "the timeline is painted on what the page has"
    found: dict[str, Any] = Axe().run(page, context={"include": [["#output"]]}).response
    assert "color-contrast" in {each["id"] for each in found["passes"]}
    bad = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert bad == [], [each["nodes"][0]["html"] for each in bad]
    view.get_by_role("button", name="Stop holder").click()
    (content,) = page.evaluate("() => window.sent")
    widget._asked(widget, content, [])
    assert asked == [(lab.agent("holder").key, False)]
    lab.agent("holder").stop(now=True)
    lab.agent("waiter").wait(DEADLINE)
    until(lambda: [widget.take(run._fleet(lab._tables())), widget.state["ended"] == 3][1], "the end of all three")
    page.evaluate("([name, value]) => window.told(name, value)", ["state", widget.state])
    view.get_by_text("3 of 3 ended").wait_for()
    page.evaluate("() => window.leave()")
    assert view.count() == 0 and page.evaluate("() => window.heard()") == 0, "nothing of it stays behind"
