"""The sidebar in a real browser: what a person sees, and does, with real agents behind it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

import agentlab
from agentlab.testing import fake_acp
from tests.stack.conftest import kill_plane

from .lab import Lab, visit

HOSTILE = "<img src=x onerror=\"document.title='owned'\"> \x1b[31mred\x1b[0m \u202egnp.exe"


def steps(*each: dict) -> list[dict]:
    return list(each)


def test_an_agent_is_spawned_from_the_sidebar_and_its_end_is_seen(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    page.button("Spawn an agent", page.panel).click()
    dialog = page.page.locator(".jp-Dialog")
    dialog.get_by_label("Kind", exact=True).select_option("script")
    dialog.get_by_label("Name", exact=True).fill("sally")
    dialog.get_by_label("Task", exact=True).fill("- write: [a.txt, hello]\n- say: all done")
    dialog.get_by_label("Folder", exact=True).fill(str(work))
    page.button("Spawn", dialog).click()
    page.agent("sally").get_by_text("done", exact=True).wait_for()
    assert (work / "a.txt").read_text() == "hello"
    (row,) = lab.agents().to_dict("records")
    assert (row["name"], row["status"]) == ("sally", "done"), "what the browser spawned is there for everybody"


PROGRAM = """
import sys
while True:
    print("you> ", end="", flush=True)
    asked = sys.stdin.readline()
    if not asked:
        break
    print("heard", asked.strip().upper())
"""


def test_a_program_becomes_an_agent_by_its_command_with_limits_of_its_own(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    program = work / "parrot.py"
    program.write_text(PROGRAM)
    page.button("Spawn an agent", page.panel).click()
    dialog = page.page.locator(".jp-Dialog")
    dialog.get_by_label("Kind", exact=True).select_option("script")
    expect(dialog.get_by_label("Command", exact=True)).to_have_count(0)
    dialog.get_by_label("Kind", exact=True).select_option("cli")
    dialog.get_by_label("Name", exact=True).fill("parrot")
    dialog.get_by_label("Task", exact=True).fill("polly")
    dialog.get_by_label("Folder", exact=True).fill(str(work))
    page.button("Spawn", dialog).click()
    expect(dialog.get_by_role("alert")).to_contain_text("Name the program")
    dialog.get_by_label("Command", exact=True).fill(f"{sys.executable} -u {program}")
    dialog.get_by_text("Advanced", exact=True).click()
    expect(dialog.get_by_label("Boundary")).to_have_value("native")
    dialog.get_by_label("At most, minutes at work").fill("10")
    page.button("Spawn", dialog).click()
    dialog.wait_for(state="detached")
    page.agent("parrot").get_by_text("done", exact=True).wait_for()
    expect(page.agent("parrot")).to_contain_text("heard POLLY")
    (row,) = [row for row in lab.agents().to_dict("records") if row["name"] == "parrot"]
    spec = lab.agent("parrot").row()["spec"]
    assert (row["status"], row["kind"]) == ("done", "cli")
    assert (spec["boundary"], spec["budget"]["time"]) == ("native", 600.0)


def test_what_the_dialog_got_wrong_is_said_and_nothing_of_it_is_lost(page: Lab, work: Path) -> None:
    page.button("Spawn an agent", page.panel).click()
    dialog = page.page.locator(".jp-Dialog")
    dialog.get_by_label("Kind", exact=True).select_option("script")
    dialog.get_by_label("Name", exact=True).fill("wrong")
    dialog.get_by_label("Task", exact=True).fill("- say: hi")
    dialog.get_by_label("Folder", exact=True).fill(str(work / "missing"))
    page.button("Spawn", dialog).click()
    problem = page.page.locator(".jp-Dialog [role=alert]")
    problem.wait_for()
    assert "missing" in problem.inner_text()
    assert page.page.locator(".jp-Dialog").get_by_label("Task", exact=True).input_value() == "- say: hi"
    page.button("Cancel", page.page.locator(".jp-Dialog")).click()


def test_a_queue_forms_is_reordered_and_clears(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("queue", workdir=work)
    holder = run.spawn("script", name="anna", steps=steps({"claim": ["file:a.py"]}, {"ask": "let it go?"}, {"release": []}, {"say": "done"}))  # fmt: skip
    page.section("locks").get_by_text("anna").wait_for()
    waiting = {"write": ["a.py", "x = 1\n"]}
    bob = run.spawn("script", name="bob", steps=steps(waiting, {"say": "bob wrote"}))
    page.agent("bob").get_by_text("held by anna").wait_for()
    cleo = run.spawn("script", name="cleo", steps=steps(waiting, {"say": "cleo wrote"}))
    page.agent("cleo").get_by_text("2nd").wait_for()
    assert "waits for file:a.py" in page.agent("cleo").inner_text()
    page.section("locks").locator(".jp-agentlab-ticket", has_text="cleo").hover()
    page.button("Move cleo to the front").click()
    page.agent("bob").get_by_text("2nd").wait_for()
    page.section("approvals").get_by_label("Answer to anna").fill("yes")
    page.button("Answer", page.section("approvals")).click()
    for name in ("anna", "bob", "cleo"):
        page.agent(name).get_by_text("done", exact=True).wait_for()
    assert [agent.wait(60).status for agent in (holder, bob, cleo)] == ["done"] * 3
    page.section("locks").get_by_text("Nothing is locked.").wait_for()


def test_a_question_is_a_badge_and_of_two_browsers_the_first_answer_wins_and_the_second_is_told_whose(
    chrome, page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    agent = lab.spawn(
        "script", name="asker", steps=steps({"ask": "Delete the old tables?"}, {"say": "end"}), workdir=work
    )
    page.section("approvals").get_by_text("Delete the old tables?").wait_for()
    page.page.locator('.jp-SideBar [data-agentlab-badge="1"]').wait_for()
    with visit(chrome, page.server) as second:
        second.show_panel()
        on_their_way: list[Route] = []
        second.page.route(
            "**/api/approvals/*", lambda route: on_their_way.append(route)
        )  # the other's answer is quicker
        theirs = second.section("approvals")
        theirs.get_by_label("Answer to asker").fill("no")
        second.button("Answer", theirs).click()
        expect(second.button("Answer", theirs)).to_be_disabled()
        assert len(on_their_way) == 1
        page.section("approvals").get_by_label("Answer to asker").fill("yes")
        page.button("Answer", page.section("approvals")).click()
        assert agent.wait(60).status == "done"
        theirs.get_by_label("Answer to asker").wait_for(state="detached")
        on_their_way[0].continue_()
        (row,) = [row for row in lab.approvals().to_dict("records") if row["agent"].endswith("asker")]
        assert (row["status"], row["answer"]) == ("answered", "yes")
        told = theirs.get_by_role("alert")
        expect(told).to_contain_text("Your answer to asker was not taken.")
        expect(told).to_contain_text(f"answered by {row['by']} already: yes")
        second.button("Dismiss", told).click()
        expect(told).to_have_count(0)
        theirs.locator(".jp-agentlab-past summary").click()
        past = theirs.locator(".jp-agentlab-past li", has_text="Delete the old tables?")
        expect(past).to_contain_text(f"by {row['by']} · yes")
        assert second.errors == []
    (row,) = [row for row in lab.approvals().to_dict("records") if row["agent"].endswith("asker")]
    assert (row["status"], row["answer"]) == ("answered", "yes"), "the second answer has changed nothing"
    assert page.section("approvals").get_by_role("alert").count() == 0


def test_permission_is_given_once_for_the_session_or_denied_with_a_reason(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    script = steps({"run": ["touch", "one"]}, {"run": ["touch", "two"]}, {"say": "end"})
    agent = lab.spawn("script", name="perry", steps=script, workdir=work, permissions=["ask tool=run"])
    approvals = page.section("approvals")
    approvals.get_by_text("touch one").first.wait_for()
    page.button("Allow once", approvals).click()
    approvals.get_by_text("touch two").first.wait_for()
    page.button("Deny…", approvals).click()
    approvals.get_by_label("Reason").fill("not that one")
    page.button("Deny", approvals).click()
    result = agent.wait(60)
    assert "not that one" in str(result.error)
    answers = lab.approvals().to_dict("records")
    assert [row["status"] for row in answers if row["agent"].endswith("perry")] == ["approved", "denied"]


def test_who_is_asked_about_a_change_of_a_file_sees_what_it_would_change(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    (work / "notes.sql").write_text("select 1;\n-- two\n")
    script = steps({"read": "notes.sql"}, {"edit": ["notes.sql", "-- two", "select 2;"]}, {"say": "end"})
    agent = lab.spawn("script", name="edna", steps=script, workdir=work, permissions=["ask tool=edit"])
    question = page.section("approvals").locator(".jp-agentlab-approval", has_text="notes.sql")
    expect(question).to_contain_text("On file:notes.sql (free)")
    expect(page.agent("edna")).to_contain_text("asks · May it edit file:notes.sql?")
    question.get_by_text("Difference", exact=True).click()
    expect(question.locator(".jp-agentlab-removed")).to_have_text("--- two\n")
    expect(question.locator(".jp-agentlab-added")).to_have_text("+select 2;\n")
    page.button("Deny…", question).click()
    page.button("Back", question).click()
    page.button("Allow once", question).click()
    assert agent.wait(60).output == "end"
    assert (work / "notes.sql").read_text() == "select 1;\nselect 2;\n"


def test_sections_that_fold_and_open_again_have_the_room_that_they_had(page: Lab) -> None:
    sections = [page.section(name) for name in ("agents", "approvals", "locks", "runtimes", "runs")]
    titles = page.panel.locator(".lm-AccordionPanel-title")

    def room() -> list[int]:
        return [round((each.bounding_box() or {"height": 0})["height"]) for each in sections]

    before = room()
    assert min(before) > 50
    for at in (0, 2, 3, 4):
        titles.nth(at).click()
        sections[at].wait_for(state="hidden")
    alone = room()[1]
    assert alone > sum(before) * 0.9
    for at in (2, 4, 0, 3):
        titles.nth(at).click()
        sections[at].wait_for()
    page.page.wait_for_function(
        "([node, before]) => Math.abs(node.offsetHeight - before) < 12", arg=[sections[4].element_handle(), before[4]]
    )
    assert all(abs(now - then) < 12 for now, then in zip(room(), before, strict=True)), (before, room())


def test_an_agent_is_paused_resumed_and_stopped(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    agent = lab.spawn("script", name="long", steps=steps({"run": ["sleep", "600"]}), workdir=work)
    row = page.agent("long")
    row.hover()
    page.button("Pause long").click()
    row.get_by_text("paused", exact=True).wait_for()
    row.hover()
    page.button("Resume long").click()
    row.locator(".jp-agentlab-word-paused").wait_for(state="detached")
    row.hover()
    page.button("Stop long").click()
    row.get_by_text("cancelled").first.wait_for()
    assert agent.wait(60).status == "cancelled"


def test_a_plane_that_is_killed_is_seen_to_be_gone_and_comes_back(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    agent = lab.spawn("script", name="survivor", steps=steps({"ask": "still there?"}, {"say": "end"}), workdir=work)
    page.section("approvals").get_by_text("still there?").wait_for()
    page.page.evaluate(
        """() => {
            const panel = document.getElementById('agentlab-panel');
            window.gone = new Promise(resolve => new MutationObserver(() => {
                if (panel.classList.contains('jp-mod-stale')) resolve(panel.getAttribute('aria-label'));
            }).observe(panel, { attributes: true }));
        }"""
    )
    kill_plane(page.server.home)
    assert "as of" in page.page.evaluate("window.gone"), "however soon another plane is there"
    page.page.locator("#agentlab-panel:not(.jp-mod-stale)").wait_for()
    page.section("approvals").get_by_label("Answer to survivor").fill("yes")
    page.button("Answer", page.section("approvals")).click()
    page.agent("survivor").get_by_text("done", exact=True).wait_for()
    assert agent.wait(60).output == "end"


def able(page: Lab) -> set[str]:
    """What the main menu offers to do with agents now."""
    page.page.locator(".lm-MenuBar-item", has_text="Agents").click()
    menu = page.page.locator(".lm-Menu:visible")
    menu.get_by_text("Spawn an Agent…").wait_for()
    texts = menu.locator(".lm-Menu-item:not(.lm-mod-disabled) .lm-Menu-itemLabel").all_inner_texts()
    menu.press("Escape")
    menu.wait_for(state="detached")
    assert texts[0] == "Spawn an Agent…"
    return {text for text in texts if "Agent" in text} - {"Spawn an Agent…", "Show Agents, Locks and Approvals"}


def test_a_plane_that_was_stopped_is_said_and_nothing_looks_alive(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    early = lab.spawn("script", name="early", steps=steps({"run": ["sleep", "600"]}), workdir=work)
    row = page.agent("early")
    row.get_by_text("running", exact=True).wait_for()
    page.page.locator(".jp-agentlab-status", has_text="1").wait_for()
    verbs = page.page.locator(
        '[aria-label="Stop early"], [aria-label="Pause early"], [aria-label="Send early a message"]'
    )
    expect(verbs).to_have_count(3)
    assert able(page) == {"Send Agent a Message…", "Interrupt Agent", "Pause Agent", "Stop Agent", "Kill Agent…"}
    agentlab.discovery.stop(page.server.home)
    banner = page.panel.locator(".jp-agentlab-banner.jp-mod-offline")
    banner.wait_for()
    assert "as of" in banner.inner_text() and "agentlab daemon start" in banner.inner_text()
    page.page.locator("#agentlab-panel.jp-mod-stale").wait_for()
    assert "as of" in (page.panel.get_attribute("aria-label") or "")
    assert verbs.count() == 0
    assert able(page) == set()
    bar = page.page.locator(".jp-agentlab-status")
    assert "offline" in bar.inner_text() and "not connected" in (bar.get_attribute("aria-label") or "")
    running = page.page.get_by_text("running").locator("visible=true")
    pale = "one => one.closest('.jp-agentlab-section') && getComputedStyle(one.closest('.jp-agentlab-section')).filter"
    assert running.count() > 0
    for each in running.all():
        page.page.wait_for_function(f"one => ({pale})(one) === 'grayscale(1)'", arg=each.element_handle())
    lab.spawn("script", name="late", steps=steps({"say": "end"}), workdir=work).wait(60)
    banner.wait_for(state="detached")
    page.agent("late").get_by_text("done", exact=True).wait_for()
    page.page.locator("#agentlab-panel:not(.jp-mod-stale)").wait_for()
    row.hover()
    page.button("Stop early").click()
    assert early.wait(60).status == "cancelled"


def test_what_a_run_used_and_cost_stays_in_its_row_when_the_plane_knows_its_agents_no_more(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    pytest.importorskip("acp")
    paid, free = lab.run("bill-paid", workdir=work), lab.run("bill-free", workdir=work)
    options = {"command": [sys.executable, fake_acp.__file__], "builtins_off": []}
    agent = paid.spawn("acp", json.dumps([{"pay": 1.25}, {"say": "here"}]), options=options)
    assert agent.wait(120).status == "done"
    assert free.spawn("script", steps=steps({"say": "here"})).wait(60).status == "done"
    runs = page.section("runs")
    runs.get_by_role("searchbox", name="Search runs").fill("bill-")
    rows = {name: runs.locator("tr", has_text=f"bill-{name}") for name in ("paid", "free")}

    def told() -> None:
        expect(rows["paid"].locator(".jp-agentlab-sub")).to_contain_text("15 tokens")
        expect(rows["paid"].locator(".jp-agentlab-numbers")).to_contain_text("$1.25")
        expect(rows["free"]).not_to_contain_text(re.compile(r"tokens|\$"))

    told()
    paid.end()
    free.end()
    agentlab.discovery.stop(page.server.home)
    page.page.locator("#agentlab-panel.jp-mod-stale").wait_for()
    agentlab.discovery.ensure(page.server.home)
    page.page.locator("#agentlab-panel:not(.jp-mod-stale)").wait_for()
    assert not {paid.run_id, free.run_id} & set(lab.state()["tables"]["runs"])
    for row in rows.values():
        expect(row.locator(".jp-agentlab-sub")).to_contain_text("done")
    told()


def test_what_an_agent_writes_is_shown_as_text(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    agent = lab.spawn(
        "script", name="mallory", steps=steps({"say": HOSTILE}, {"ask": HOSTILE + "x" * 1_000_000}), workdir=work
    )
    question = page.section("approvals").locator(".jp-agentlab-question")
    question.wait_for()
    assert "<img src=x" in question.inner_text()
    assert page.page.locator("img[src=x]").count() == 0
    assert page.page.title() != "owned"
    assert "\u202e" not in question.inner_text() and "\x1b" not in question.inner_text()
    agent.stop(now=True)


def reach(page: Lab, label: str) -> None:
    """Press Tab until what is called so has the focus."""
    seen = []
    for _ in range(15):
        seen.append(page.page.evaluate("document.activeElement.getAttribute('aria-label')"))
        if seen[-1] == label:
            return
        page.page.keyboard.press("Tab")
    raise AssertionError(f"{label} is not reached: {seen}")


def test_the_keyboard_alone_is_enough(page: Lab, lab: agentlab.Lab, work: Path) -> None:
    run = lab.run("keys", workdir=work)
    asks = run.spawn("script", name="asks", steps=steps({"ask": "by keys?"}, {"say": "end"}))
    page.section("approvals").get_by_text("by keys?").wait_for()  # rows stand in the order in which agents began
    works = run.spawn("script", name="works", steps=steps({"run": ["sleep", "600"]}))
    page.agent("works").get_by_text("running", exact=True).wait_for()
    keyboard = page.page.keyboard
    page.tab.click()  # closes it
    page.panel.wait_for(state="hidden")
    keyboard.press("Control+Alt+g")
    page.panel.wait_for()
    page.page.wait_for_function("() => document.activeElement?.dataset.agent")
    keyboard.press("Home")  # the row of before is where one was before
    focused = "document.activeElement.dataset.agent ?? document.activeElement.getAttribute('aria-label')"
    assert page.page.evaluate(focused) == asks.key
    keyboard.press("ArrowDown")
    assert page.page.evaluate(focused) == works.key
    reach(page, "Stop works")
    keyboard.press("Enter")
    assert works.wait(60).status == "cancelled"
    keyboard.press("Control+Alt+y")
    page.page.wait_for_function("() => document.activeElement?.closest('.jp-agentlab-section-approvals')")
    reach(page, "Answer to asks")
    keyboard.type("yes")
    keyboard.press("Enter")
    assert asks.wait(60).status == "done"
    page.page.evaluate("document.activeElement.blur()")
    keyboard.press("Control+Alt+g")
    page.page.wait_for_function("() => document.activeElement?.dataset.agent")
    keyboard.press("Enter")
    page.console.wait_for()
    keyboard.press("Control+Shift+c")
    palette = page.page.locator(".lm-CommandPalette-input")
    palette.fill("Spawn an agent")
    page.page.locator(".lm-CommandPalette-item.lm-mod-active", has_text="Spawn an Agent").wait_for()
    keyboard.press("Enter")
    page.page.locator(".jp-Dialog").get_by_label("Kind", exact=True).wait_for()
    keyboard.press("Escape")
    page.page.locator(".jp-Dialog").wait_for(state="detached")
