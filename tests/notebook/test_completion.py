from __future__ import annotations

import pytest
from IPython.core.completer import provisionalcompleter

from agentlab.testing.stage import Stage

SAY = '[{"say": "hi"}]'


def offered(ip, text: str) -> list[str]:
    """What Tab at the end of `text` offers, as whole words."""
    with provisionalcompleter():
        ip.Completer.use_jedi = True
        found = list(ip.Completer.completions(text, len(text)))
    return [c.text for c in found]


def test_commands_are_offered(ip) -> None:
    assert offered(ip, "%agent lo") == ["logs", "locks"]
    assert {"spawn", "ps", "wait"} <= set(offered(ip, "%agent "))
    assert offered(ip, "handles = %agent ru") == ["runs", "runtimes"]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_the_older_way_of_asking_gets_the_same(ip) -> None:
    assert ip.complete("lo", "%agent lo", 9)[1] == ["logs", "locks"]
    assert ip.complete(None, "%agent spawn script --na", 24)[1] == ["--name"]


def test_kinds_and_options_are_offered(ip) -> None:
    assert {"script", "python", "claude"} <= set(offered(ip, "%agent spawn "))
    assert offered(ip, "%agent spawn py") == ["python"]
    assert offered(ip, "%%agent spawn script --na") == ["--name"]
    assert offered(ip, "%agent spawn script --priority b") == ["background"]


def test_agents_runs_and_units_are_offered(ip, stage: Stage) -> None:
    for name in ("typist", "tester"):
        ip.run_line_magic("agent", f"spawn script --name {name} --run refactor '{SAY}'")
    assert set(offered(ip, "%agent logs t")) == {"typist", "tester"}
    assert offered(ip, "%agent wait typist te") == ["tester"]
    assert "refactor" in offered(ip, "%agent events re")
    assert "file:" in offered(ip, "%agent claim f")


def test_of_two_agents_of_one_name_the_run_is_offered_too(ip, stage: Stage) -> None:
    for run in ("one", "two"):
        ip.run_line_magic("agent", f"spawn script --name a --run {run} '{SAY}'")
    assert {"one/a", "two/a"} <= set(offered(ip, "%agent logs "))


@pytest.mark.parametrize("text", ["%agents ", "agent lo", '%agent spawn claude "wri', "%agent nothing lo", "%agent"])
def test_elsewhere_it_keeps_out_of_the_way(ip, text: str) -> None:
    assert not {"logs", "locks", "typist", "--name"} & set(offered(ip, text))


def test_the_body_of_a_cell_is_not_ours(ip) -> None:
    assert "logs" not in offered(ip, "%%agent spawn claude\nplease use lo")


def test_completion_does_not_start_a_plane(ip, stage: Stage) -> None:
    from agentlab import discovery

    stage.stop()
    assert "script" in offered(ip, "%agent spawn ")
    assert offered(ip, "%agent logs ty") == []
    assert discovery.read(stage.home) is None
