"""The run console in a real browser: a run from its first event to its last, and everything that can be read of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

import agentlab

from .lab import Lab


@pytest.fixture
def run(lab: agentlab.Lab, work: Path) -> agentlab.Run:
    """Two agents after one another at a file, and a command."""
    run = lab.run(f"film-{work.name[-8:]}", workdir=work)
    run.spawn("script", name="ann", steps=[{"write": ["a.py", "x = 1\n"]}, {"run": ["echo", "hi there"]}, {"say": "written"}]).wait(60)  # fmt: skip
    run.spawn("script", name="ben", steps=[{"edit": ["a.py", "1", "2"]}, {"say": "changed"}]).wait(60)
    return run


@pytest.fixture
def console(page: Lab, run: agentlab.Run) -> Lab:
    page.section("agents").get_by_text(run.name).first.wait_for()
    page.button(f"Open run {run.name}", page.section("agents")).click()
    page.console.locator(".jp-agentlab-run-scrubber-place", has_text="event").wait_for()
    return page


def place(page: Lab) -> tuple[int, int]:
    """(event that is shown, the last one)"""
    text = page.console.locator(".jp-agentlab-run-scrubber-place").inner_text()
    at, last = re.findall(r"[\d,]+", text)[:2]
    return int(at.replace(",", "")), int(last.replace(",", ""))


def tab(page: Lab, name: str) -> None:
    wanted = page.console.get_by_role("tab", name=re.compile(f"^{name}"))
    wanted.click()
    expect(wanted).to_have_attribute("aria-selected", "true")


def test_a_finished_run_is_scrubbed_like_a_film(console: Lab, run: agentlab.Run) -> None:
    at, last = place(console)
    assert at == last > 10
    expect(
        console.page.locator(".lm-DockPanel-tabBar .lm-mod-current .lm-TabBar-tabLabel", has_text=run.name)
    ).to_be_visible()
    console.button("To the beginning").click()
    console.console.locator(".jp-agentlab-run-scrubber-place", has_text="event 1 of").wait_for()
    tab(console, "State")
    pane = console.console.locator(".jp-agentlab-run-pane")
    expect(pane).not_to_contain_text("ben")  # there was no such agent yet
    console.button("Step forward (])").click()
    shown = console.console.locator(".jp-agentlab-run-scrubber-place")
    expect(shown).to_contain_text("event 2 of")
    console.console.get_by_role("combobox", name="step").select_option("call")
    console.button("Step forward (])").click()
    expect(shown).not_to_contain_text("event 2 of")
    assert 2 < place(console)[0] < last
    tab(console, "Messages")
    expect(pane).not_to_contain_text("changed")
    console.button("Follow what happens").click()
    pane.get_by_text("changed").first.wait_for()
    tab(console, "State")
    pane.get_by_text("ben").first.wait_for()


def test_a_film_plays_every_moment_in_order_to_its_end(console: Lab) -> None:
    _, last = place(console)
    console.button("To the beginning").click()
    console.console.locator(".jp-agentlab-run-scrubber-place", has_text="event 1 of").wait_for()
    tab(console, "State")
    pane = console.console.locator(".jp-agentlab-run-pane")
    expect(pane).not_to_contain_text("ben")
    console.console.get_by_role("combobox", name="speed").select_option("1")
    console.page.evaluate(
        """() => {
            const scrubber = document.querySelector('.jp-agentlab-console:not(.lm-mod-hidden) .jp-agentlab-run-scrubber');
            const slider = scrubber.querySelector('input[type=range]');
            window.film = [];
            new MutationObserver(() => {
                const playing = scrubber.querySelector('[aria-label="Pause (space)"]') !== null;
                if (window.film.at(-1)?.join() !== [Number(slider.value), playing].join()) {
                    window.film.push([Number(slider.value), playing]);
                }
            }).observe(scrubber, { subtree: true, childList: true, attributes: true, characterData: true });
        }"""
    )
    console.button("Play (space)").click()
    console.page.wait_for_function("last => window.film.at(-1)?.join() === `${last},false`", arg=last)
    film = console.page.evaluate("window.film")
    moments = [at for at, playing in film if playing]
    assert moments == sorted(moments) and len(set(moments)) > 3, "it goes on, and is no jump"
    assert moments[0] < last / 2
    expect(console.button("Play (space)")).to_be_visible()
    expect(console.button("Follow what happens")).to_have_attribute("aria-pressed", "true")
    expect(pane).to_contain_text("ben")


def test_diffs_output_and_events_are_read_and_filtered(console: Lab) -> None:
    pane = console.console.locator(".jp-agentlab-run-pane")
    tab(console, "Diffs")
    pane.get_by_text("a.py").first.wait_for()
    pane.get_by_text("ben", exact=True).last.click()
    pane.get_by_text("x = 1").first.wait_for()
    pane.get_by_text("x = 2").first.wait_for()
    tab(console, "Output")
    pane.get_by_text("hi there").first.wait_for()
    tab(console, "Events")
    box = pane.get_by_role("searchbox").or_(pane.get_by_placeholder(re.compile("text", re.I))).first
    box.fill("hi there")
    expect(pane.get_by_role("status")).to_contain_text(re.compile(r"^\d of \d+ events"))
    expect(pane.get_by_role("listbox", name="Events")).not_to_contain_text("file.write")
    box.fill("a.py")
    pane.get_by_role("listbox", name="Events").get_by_role("option", name=re.compile("tool.call")).first.click()
    console.button("Show diff").click()
    expect(console.console.get_by_role("tab", name=re.compile("^Diffs"))).to_have_attribute("aria-selected", "true")
    pane.get_by_text("x = 1").first.wait_for()


def test_what_is_shown_becomes_a_data_frame_in_a_notebook(console: Lab, run: agentlab.Run) -> None:
    console.run("notebook:create-new", {"kernelName": "python3"})
    notebook = console.page.locator(".jp-Notebook:visible")
    notebook.locator(".jp-Cell").first.wait_for()
    console.page.locator("#jp-main-statusbar").get_by_text("Idle").wait_for()
    console.run("agentlab:open-run", {"run_id": run.run_id})
    console.console.wait_for()
    tab(console, "Diffs")
    console.console.get_by_role("button", name=re.compile("Insert as code")).click()
    console.page.get_by_text("The code is in a new cell of the notebook").wait_for()
    console.page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="Untitled").click()
    lines = notebook.locator(".jp-Cell").last.locator(".cm-line").all_inner_texts()
    code = [line.strip() for line in lines if line.strip()]
    assert code == ["import agentlab", f'run = agentlab.connect().run_named("{run.run_id}")', "run.files()"]
    console.run("notebook:run-all-cells")
    table = notebook.locator(".jp-OutputArea-output table.dataframe")
    table.wait_for()
    written = run.files()
    assert len(written) == 2, "ann wrote, ben changed"
    assert table.locator("tbody tr").count() == len(written)
    heads = table.locator("thead th").all_inner_texts()
    column = heads.index("actor")
    shown = [row.locator("th, td").nth(column).inner_text() for row in table.locator("tbody tr").all()]
    assert shown == written["actor"].tolist()


def test_who_waits_is_drawn_to_now_and_what_happened_is_read_beside_what_is_chosen(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    run = lab.run(f"waits-{work.name[-8:]}", workdir=work)
    run.spawn("script", name="ann", steps=[{"ask": "go on?"}])
    page.section("approvals").get_by_text("go on?").wait_for()
    page.run("agentlab:open-run", {"run_id": run.run_id})
    expect(page.console.locator(".jp-agentlab-run-badge")).to_have_text(re.compile("live"))
    head = page.console.locator(".jp-agentlab-console-header")
    place = page.console.locator(".jp-agentlab-run-scrubber-place")
    expect(place).to_have_text(re.compile(r"event (\d+) of \1"))
    before, event = head.inner_text(), place.inner_text()
    page.page.wait_for_function(
        "([node, before]) => node.innerText !== before", arg=[head.element_handle(), before]
    )  # nothing happens, and yet time goes on
    assert place.inner_text() == event
    row = page.console.get_by_role("listbox", name="Events").get_by_role("option", name=re.compile("agent.start"))
    row.click()
    detail = page.console.locator(".jp-agentlab-run-detail")
    detail.wait_for()
    what = row.locator("span span").last.bounding_box()
    edge = detail.bounding_box()
    assert what and edge and what["width"] > 80 and what["x"] + what["width"] <= edge["x"] + 1


def test_a_run_that_does_not_exist_is_said(page: Lab) -> None:
    page.run("agentlab:open-run", {"run_id": "no-such-run"})
    alert = page.console.get_by_role("alert")
    expect(alert).to_contain_text("The log has no run 'no-such-run'")
    expect(alert).to_contain_text("It may have been deleted")
    expect(page.console.locator(".jp-agentlab-run-badge")).to_have_text(re.compile("not here"))


def test_nothing_looks_alive_when_the_plane_was_stopped_while_an_agent_worked(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    run = lab.run(f"busy-{work.name[-8:]}", workdir=work)
    run.spawn("script", name="ann", steps=[{"run": ["sleep", "600"]}, {"say": "end"}])
    page.agent("ann").locator(".jp-agentlab-word-running").wait_for()
    page.run("agentlab:open-run", {"run_id": run.run_id})
    badge = page.console.locator(".jp-agentlab-run-badge")
    expect(badge).to_have_text(re.compile("live"))
    pane = page.console.locator(".jp-agentlab-run-pane")
    tab(page, "Output")
    expect(pane).to_contain_text("▶ running")
    tab(page, "State")
    expect(pane).to_contain_text("running")
    expect(pane.locator(".jp-mod-stale")).to_have_count(0)

    agentlab.discovery.stop(page.server.home, force=True)

    expect(badge).to_have_text(re.compile("connection lost"))
    expect(pane.locator(".jp-mod-stale")).to_contain_text("ann")
    tab(page, "Output")
    expect(pane).to_contain_text("ran when last heard of")
    expect(pane).not_to_contain_text("▶ running")

    agentlab.discovery.ensure(page.server.home)

    expect(badge).to_have_text(re.compile("live|failed|cancelled|done"))
    tab(page, "State")
    expect(pane.locator(".jp-mod-stale")).to_have_count(0)


def test_where_websockets_are_blocked_a_run_is_followed_all_the_same_and_nothing_blinks(
    page: Lab, lab: agentlab.Lab, work: Path
) -> None:
    page.page.route_web_socket(re.compile("/api/runs/.*/stream"), lambda socket: socket.close())
    page.open()  # a page's sockets are routed from its beginning
    page.show_panel()
    run = lab.run(f"shut-{work.name[-8:]}", workdir=work)
    ann = run.spawn("script", name="ann", steps=[{"ask": "go on?"}, {"say": "went on"}])
    page.section("approvals").get_by_label("Answer to ann").wait_for()
    page.run("agentlab:open-run", {"run_id": run.run_id})
    expect(page.console.locator(".jp-agentlab-run-badge")).to_have_text(re.compile("every few seconds"))
    expect(page.console.get_by_role("alert")).to_have_count(0)
    page.section("approvals").get_by_label("Answer to ann").fill("yes")
    page.button("Answer", page.section("approvals")).click()
    assert ann.wait(60).output == "went on"
    tab(page, "Messages")
    page.console.locator(".jp-agentlab-run-pane").get_by_text("went on").first.wait_for()
    expect(page.console.get_by_role("alert")).to_have_count(0)
