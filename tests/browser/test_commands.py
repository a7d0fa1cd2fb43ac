"""The ways to agentlab beside its sidebar's buttons: menus, launcher, settings, status bar, dialogs, comparison."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, expect

import agentlab

from .lab import Lab

WORKS = [{"run": ["sleep", "600"]}]


def menu(page: Lab) -> Locator:
    return page.page.locator(".lm-Menu:visible")


def item(page: Lab, label: str) -> Locator:
    return menu(page).locator(".lm-Menu-item", has=page.page.get_by_text(label, exact=True))


def dialog(page: Lab) -> Locator:
    return page.page.locator(".jp-Dialog")


def test_no_key_of_jupyterlab_is_taken_away(page: Lab) -> None:
    taken: list[str] = []
    page.page.on("console", lambda said: taken.append(said.text) if "default shortcut" in said.text else None)
    page.open()
    page.page.keyboard.press("Control+Alt+g")
    page.panel.wait_for()
    assert [each for each in taken if "agentlab" in each] == []


def test_the_context_menu_is_about_the_row_that_it_was_opened_on_and_the_main_menu_is_not(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    run = lab.run("menus", workdir=work)
    ann, bob = (run.spawn("script", name=name, steps=WORKS) for name in ("ann", "bob"))
    for name in ("ann", "bob"):
        page.agent(name).get_by_text("running", exact=True).wait_for()
    page.agent("bob").click(button="right")
    expect(item(page, "Resume Agent")).to_have_class(re.compile("lm-mod-disabled"))
    item(page, "Pause Agent").click()
    page.agent("bob").get_by_text("paused", exact=True).wait_for()
    page.page.locator(".lm-MenuBar-item", has_text="Agents").click()
    item(page, "Stop Agent").click()
    choice = dialog(page).locator("select, input").first  # it asks which one, whatever the other menu was about
    choice.wait_for()
    offered = dialog(page).locator("option").all_inner_texts()
    assert sorted(each.split(" · ")[0] for each in offered) == ["ann", "bob"]
    dialog(page).locator("select").select_option(next(each for each in offered if each.startswith("ann")))
    dialog(page).locator(".jp-mod-accept").click()
    assert ann.wait(60).status == "cancelled"
    assert bob.row()["status"] == "paused"
    page.button("More for bob").click()
    item(page, "Kill Agent…").click()
    expect(dialog(page)).to_contain_text("Kill bob?")
    dialog(page).locator(".jp-mod-reject").click()
    dialog(page).wait_for(state="detached")
    assert bob.row()["status"] == "paused", "nothing happens to it without a yes"
    page.button("More for bob").click()
    item(page, "Kill Agent…").click()
    dialog(page).locator(".jp-mod-warn").click()
    assert bob.wait(60).status == "cancelled"


def test_who_takes_a_lock_away_or_out_of_a_queue_is_told_what_breaks(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("taken", workdir=work)
    hal = run.spawn("script", name="hal", steps=[{"claim": ["file:a.py"]}, {"ask": "go on?"}, {"write": ["a.py", "x"]}])
    page.section("approvals").get_by_label("Answer to hal").wait_for()
    waits = [run.spawn("script", name="wes", steps=[{"write": ["a.py", "wes"]}])]
    page.agent("wes").get_by_text("held by hal").wait_for()
    waits.append(run.spawn("script", name="yan", steps=[{"write": ["a.py", "yan"]}]))
    page.agent("yan").get_by_text("2nd").wait_for()

    queued = page.section("locks").locator(".jp-agentlab-ticket.jp-mod-waiting", has_text="wes")
    queued.hover()
    page.button("Take wes out of the queue").click()
    said = dialog(page)
    expect(said).to_contain_text("Take wes out of the queue for file:a.py?")
    expect(said).to_contain_text("Its request ends as refused")
    expect(said).to_contain_text("Behind it: yan.")
    page.button("Cancel", said).click()
    said.wait_for(state="detached")
    assert waits[0].row()["status"] == "waiting", "nothing is taken without a yes"
    queued.hover()
    page.button("Take wes out of the queue").click()
    said.get_by_placeholder(re.compile("The agent reads it")).fill("yan first")
    page.button("Take out", said).click()
    refused = waits[0].wait(60)
    assert refused.status == "failed" and "yan first" in str(refused.error)

    page.section("locks").locator(".jp-agentlab-ticket.jp-mod-held", has_text="hal").click(button="right")
    expect(item(page, "Move to the Front of the Queue")).to_have_count(0)
    item(page, "Release Lock…").click()
    expect(said).to_contain_text("Release file:a.py from hal?")
    expect(said).to_contain_text("its next write or command there is refused until it has the lock again")
    expect(said).to_contain_text("Next in the queue: yan.")
    said.get_by_placeholder(re.compile("The agent reads it")).fill("it is late")
    page.button("Release", said).click()
    assert waits[1].wait(60).status == "done"
    assert (work / "a.py").read_text() == "yan"
    page.section("approvals").get_by_label("Answer to hal").fill("yes")
    page.button("Answer", page.section("approvals")).click()
    ended = hal.wait(60)
    assert ended.status == "failed" and "it is late" in str(ended.error)
    assert (work / "a.py").read_text() == "yan"


def test_two_runs_are_compared_by_what_they_came_to(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    for name, files in (
        ("first", {"same.txt": "s", "other.txt": "1"}),
        ("second", {"same.txt": "s", "other.txt": "2", "more.txt": "m"}),
    ):
        folder = work / name
        folder.mkdir()
        run = lab.run(f"cmp-{name}", workdir=folder)
        run.spawn("script", name="ann", steps=[{"write": [path, text]} for path, text in files.items()]).wait(60)
    runs = page.section("runs")
    runs.get_by_role("searchbox", name="Search runs").fill("cmp-")
    expect(runs.locator(".jp-agentlab-runs tbody tr")).to_have_count(2)
    compare = page.button("Compare", runs)
    expect(compare).to_be_disabled()
    for name in ("cmp-first", "cmp-second"):
        runs.locator("tr", has_text=name).get_by_role("checkbox").check()
    compare.click()
    console = page.console
    sums = console.get_by_role("table", name="What the two runs came to")
    sums.wait_for()

    def row(word: str) -> list[str]:
        line = sums.locator("tr", has=page.page.get_by_role("rowheader", name=word, exact=True))
        return line.locator("td").all_inner_texts()

    heads = sums.locator("thead th").all_inner_texts()
    assert [each.split(" (")[0] for each in heads[1:3]] == ["A: cmp-first", "B: cmp-second"]
    assert row("agents") == ["1", "1", "="]
    assert row("tool calls") == ["2", "3", "+1"]
    assert row("files left") == ["2", "3", "+1"]
    assert row("tokens") == row("cost") == ["not told", "not told", ""]
    assert row("of them not ok") == ["0", "0", "="]
    files = console.get_by_role("table", name="Files that either of them wrote")
    assert {tuple(each.locator("td").all_inner_texts()) for each in files.locator("tbody tr").all()} == {
        ("same.txt", "= same"), ("other.txt", "≠ different"), ("more.txt", "≠ only in B"),
    }  # fmt: skip
    assert console.locator(".agentlab-timeline canvas").count() >= 2, "a picture of each"


def test_the_launcher_has_a_card_that_spawns_where_the_launcher_is(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    page.tab.click()
    page.panel.wait_for(state="hidden")
    page.run("filebrowser:open-path", {"path": work.name})
    page.page.locator(".jp-BreadCrumbs-item", has_text=work.name[:8]).first.wait_for()
    page.run("launcher:create", {"cwd": work.name})
    card = page.page.locator(".jp-LauncherCard:visible", has_text=re.compile("^Agent$"))
    card.click()
    form = dialog(page)
    expect(form.get_by_label("Folder", exact=True)).to_have_value(f"~/files/{work.name}")
    form.get_by_label("Kind", exact=True).select_option("script")
    form.get_by_label("Name", exact=True).fill("lana")
    form.get_by_label("Task", exact=True).fill("- write: [here.txt, hello]")
    page.button("Spawn", form).click()
    page.panel.wait_for()  # it comes by itself
    page.agent("lana").get_by_text("done", exact=True).wait_for()
    assert (work / "here.txt").read_text() == "hello"


def test_a_setting_takes_effect_as_it_is_changed(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("settings", workdir=work)
    run.spawn("script", name="over", steps=[{"say": "bye"}]).wait(60)
    run.spawn("script", name="alive", steps=WORKS)
    page.agent("over").get_by_text("done", exact=True).wait_for()
    page.agent("alive").wait_for()
    bar = page.page.locator("#jp-main-statusbar .jp-agentlab-status")
    expect(bar).to_be_visible()
    page.run("settingeditor:open", {"query": "agentlab"})
    ended = page.page.get_by_role("checkbox", name="Show agents that have ended")
    status = page.page.get_by_role("checkbox", name="Show agents in the status bar")
    ended.uncheck()
    expect(page.agent("over")).to_have_count(0)
    expect(page.agent("alive")).to_have_count(1)
    status.uncheck()
    expect(bar).to_be_hidden()
    ended.check()
    status.check()
    expect(page.agent("over")).to_have_count(1)
    expect(bar).to_be_visible()


def test_the_status_bar_counts_who_works_waits_and_asks_and_leads_to_the_questions(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    bar = page.page.locator("#jp-main-statusbar .jp-agentlab-status")
    expect(bar).to_have_attribute("aria-label", "agentlab: no agent; 0 approvals")
    run = lab.run("bar", workdir=work)
    asks = run.spawn("script", name="asks", steps=[{"claim": ["file:a"]}, {"ask": "well?"}, {"say": "end"}])
    page.section("approvals").get_by_label("Answer to asks").wait_for()
    run.spawn("script", name="works", steps=WORKS)
    page.agent("works").get_by_text("running", exact=True).wait_for()
    run.spawn("script", name="waits", steps=[{"write": ["a", "x"]}])
    page.agent("waits").get_by_text("held by asks").wait_for()
    expect(bar).to_have_attribute("aria-label", "agentlab: 3 agents: 1 at work, 1 waits, 1 asks; 1 approval")
    assert bar.locator(".jp-agentlab-count").all_inner_texts() == ["1", "1", "1"]
    page.tab.click()
    page.panel.wait_for(state="hidden")
    bar.click()
    page.panel.wait_for()
    page.page.wait_for_function("() => document.activeElement?.closest('.jp-agentlab-section-approvals')")
    page.section("approvals").get_by_label("Answer to asks").fill("yes")
    page.button("Answer", page.section("approvals")).click()
    assert asks.wait(60).status == "done"
    expect(bar).to_have_attribute("aria-label", "agentlab: 1 agent at work; 0 approvals")
