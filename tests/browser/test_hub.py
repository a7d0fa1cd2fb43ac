"""The sidebar behind a real JupyterHub: after its login, and when it stops a user's server under the page."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest

import agentlab
from tests.serverextension import hub as hubs
from tests.serverextension.conftest import end_agents
from tests.serverextension.hub import Hub, Person

from .lab import BUILT, DEADLINE, SIZE, Lab

pytest.importorskip("jupyterhub")
pytestmark = pytest.mark.timeout(600)

CELL = """
import agentlab
run = agentlab.connect().run("mine", workdir="work")
run.spawn("script", name="asks", steps=[{"ask": "go on?"}])
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    if why := hubs.why_not():
        pytest.skip(why)
    with hubs.serve(BUILT) as hub:
        yield hub
        end_agents(hub.home)


@pytest.fixture
def page(chrome, hub: Hub) -> Iterator[Lab]:
    """JupyterLab of the user ann, who came in by the form of the hub's login."""
    context = chrome.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}, reduced_motion="reduce")
    context.set_default_timeout(DEADLINE * 1000)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(hub.url)
    page.get_by_label("Username:").fill("ann")
    page.get_by_label("Password:").fill(hubs.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.locator("#jp-main-dock-panel").wait_for()
    assert page.url.startswith(f"{hub.server('ann')}lab")
    yield Lab(page, None, errors)
    context.close()
    assert errors == []


def test_a_user_of_the_hub_has_the_sidebar_and_is_told_when_the_hub_stops_the_server(page: Lab, hub: Hub) -> None:
    (hub.people / "ann" / "work").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)]), hub.people / "ann" / "mine.ipynb")
    page.show_panel()
    page.run_notebook("mine.ipynb")
    question = page.section("approvals").get_by_text("go on?")
    question.wait_for()
    with agentlab.connect(hub.home) as lab:
        users = {row["name"]: row["user"] for row in lab.state()["tables"]["runs"].values()}
    assert users["mine"] == "ann", "what a kernel begins is the hub's user's, as what the sidebar does"
    ann = Person(hub, "ann")
    ann.log_in()
    ann.stop_server()
    page.panel.get_by_text("JupyterHub has stopped this Jupyter server.").wait_for()
    assert page.button("Refuse").is_disabled(), "nothing is offered that nobody would hear"
    ann.start_server()
    page.page.goto(f"{hub.server('ann')}lab?reset")  # by way of the hub, which lets the user in again
    page.tab.wait_for()
    page.show_panel()
    question.wait_for()
    page.panel.get_by_label("Answer").first.fill("yes")
    page.button("Answer").click()
    page.agent("asks").get_by_text("done").first.wait_for()
