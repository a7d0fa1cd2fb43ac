"""JupyterLab in another language: a language pack, as people install them, reaches every part of agentlab."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from playwright.sync_api import expect

import agentlab

from . import lab as labs
from .conftest import served
from .lab import Lab

LOCALE = "de_DE"
WORDS: dict[str, str | list[str]] = {
    "Agents": "Agenten", "Approvals": "Anfragen", "Locks and queues": "Sperren", "Nothing is locked.": "Nichts ist gesperrt.",
    "Nothing to answer.": "Nichts zu beantworten.", "Spawn an agent": "Agenten starten", "Stop %1": "%1 anhalten", "asks": "fragt",
    "running": "arbeitet", "Answer to %1": "Antwort an %1", "Open run %1": "Lauf %1 zeigen", "Events": "Ereignisse", "State": "Zustand",
    "waits for %1": "wartet auf %1", "held by %1": "gehalten von %1", "Stop": "Halt", "Fit": "Alles", "Spawn an Agent…": "Agenten starten…",
    "%1 agent at work": ["%1 Agent arbeitet", "%1 Agenten arbeiten"], "No plane answers.": "Keine Leitstelle antwortet.",
    "%1 of %2 ended": "%1 von %2 fertig", "status": "Zustand", "agent %1": "Agent %1",
}  # fmt: skip
SCHEMA = {
    "menu": {"Agents": "Agenten"},
    "settings": {"Show tokens and cost": "Token und Kosten zeigen"},
    "schema": {
        "Agents, locks and queues, approvals, runtimes and runs.": "Agenten, Sperren, Anfragen, Orte und Läufe."
    },
}
"""What settings and menus say, by its context: for the page, and for the server, which may look it up itself."""


def language_pack(site: Path) -> Path:
    """A package as `jupyterlab-language-pack-de-DE` is: JSON for the page, a catalogue for the server, found by an entry point."""
    name = f"jupyterlab_language_pack_{LOCALE}"
    messages = site / name / "locale" / LOCALE / "LC_MESSAGES"
    messages.mkdir(parents=True)
    (site / name / "__init__.py").write_text("")
    head = {
        "domain": "agentlab",
        "version": "1.0",
        "language": LOCALE.replace("_", "-"),
        "plural_forms": "nplurals=2; plural=(n != 1);",
    }
    said = {text: word if isinstance(word, list) else [word] for text, word in WORDS.items()}
    said |= {f"{context}\x04{text}": [word] for context, words in SCHEMA.items() for text, word in words.items()}
    (messages / "agentlab.json").write_text(json.dumps({"": head, **said}))
    catalog = Catalog(locale=LOCALE)
    for context, words in SCHEMA.items():
        for text, word in words.items():
            catalog.add(text, word, context=context)
    with (messages / "agentlab.mo").open("wb") as file:
        write_mo(file, catalog)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[jupyterlab.languagepack]\n{LOCALE} = {name}\n")
    return site


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Server]:
    german = {"@jupyterlab/translation-extension/plugin.jupyterlab-settings": json.dumps({"locale": LOCALE})}
    with served(settings=german, packages=language_pack(tmp_path_factory.mktemp("site"))) as server:
        yield server


def test_every_part_of_it_speaks_the_language_of_jupyterlab(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    for text in ("Nichts ist gesperrt.", "Nichts zu beantworten."):
        page.panel.get_by_text(text).wait_for()
    titles = page.panel.locator(".lm-AccordionPanel-title")
    expect(titles.filter(has_text="Sperren")).to_have_count(1)
    expect(page.button("Agenten starten", page.panel)).to_be_visible()
    run = lab.run("sprache", workdir=work)
    run.spawn("script", name="fritz", steps=[{"claim": ["file:a"]}, {"ask": "weiter?"}])
    page.section("approvals").get_by_label("Antwort an fritz").wait_for()
    page.agent("fritz").get_by_text("fragt", exact=True).wait_for()
    run.spawn("script", name="emil", steps=[{"write": ["a", "x"]}])
    expect(page.agent("emil")).to_contain_text("wartet auf file:a · gehalten von fritz")
    expect(page.agent("emil").get_by_label("emil anhalten")).to_have_count(1)
    other = lab.run("allein", workdir=work)
    other.spawn("script", name="otto", steps=[{"run": ["sleep", "600"]}])
    expect(page.section("agents").locator("caption", has_text="allein")).to_contain_text("1 Agent arbeitet")
    other.spawn("script", name="uwe", steps=[{"run": ["sleep", "600"]}])
    expect(page.section("agents").locator("caption", has_text="allein")).to_contain_text("2 Agenten arbeiten")

    page.button("Lauf sprache zeigen", page.section("agents")).click()
    for tab in ("Ereignisse", "Zustand"):
        page.console.get_by_role("tab", name=tab).wait_for()
    expect(
        page.button("Alles", page.console).or_(page.console.locator("button", has_text="Alles")).first
    ).to_be_visible()


def test_so_do_the_menu_and_the_settings(page: Lab) -> None:
    page.page.locator(".lm-MenuBar-item", has_text=re.compile("^Agenten$")).click()
    page.page.locator(".lm-Menu:visible").get_by_text("Agenten starten…").wait_for()
    page.page.locator(".lm-Menu:visible").press("Escape")
    page.run("settingeditor:open", {"query": "agentlab"})
    editor = page.page.locator("#setting-editor")
    editor.get_by_text("Token und Kosten zeigen").wait_for()
    editor.get_by_text("Agenten, Sperren, Anfragen, Orte und Läufe.").first.wait_for()
    assert page.page.locator(".jp-Dialog").count() == 0, (
        "nobody is asked to load the page again for a menu in another language"
    )


def test_so_does_a_view_in_a_cell(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    pytest.importorskip("ipykernel")
    import nbformat

    cell = f"""
import agentlab
run = agentlab.connect().run('zelle', workdir={str(work)!r})
run.spawn('script', name='ida', steps=[{{"run": ["sleep", "600"]}}])
run
"""
    other = """
run.spawn('script', name='otto', steps=[{"run": ["sleep", "600"]}])
"""
    cells = [nbformat.v4.new_code_cell(each) for each in (cell, other)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), work / "zelle.ipynb")
    page.run_notebook(f"{work.name}/zelle.ipynb")
    view = page.page.locator(".jp-OutputArea .agentlab-fleet")
    row = view.locator("tr", has_text="ida")
    expect(row).to_contain_text("arbeitet", timeout=60_000)
    expect(view.locator("thead")).to_contain_text("Zustand")
    expect(view).to_contain_text("0 von 1 fertig")
    row.get_by_role("button", name="Halt ida").click()
    assert lab.agent("ida").wait(60).status == "cancelled"
    one = page.page.locator(".jp-OutputArea").get_by_role("group", name="Agent otto")
    expect(one).to_contain_text("arbeitet")
    one.get_by_role("button", name="Halt").click()
    assert lab.agent("otto").wait(60).status == "cancelled"


def test_what_is_wrong_is_said_in_it_too(page: Lab, lab: agentlab.Lab) -> None:
    lab.state()
    page.page.route(
        "**/agentlab/status*", lambda route: route.fulfill(json={"ok": False, "problem": None}, headers={"Date": ""})
    )
    page.run("agentlab:reconnect")
    expect(page.panel.locator(".jp-agentlab-banner")).to_contain_text("Keine Leitstelle antwortet.")
