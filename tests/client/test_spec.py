from __future__ import annotations

from pathlib import Path

import pytest

from agentlab.client import spec
from agentlab.core.events import Mode, Priority
from agentlab.errors import BadRequest, OutsideWorkspace


def define(kind: str = "script", **given):
    if kind == "script" and not {"task", "code", "steps"} & set(given):
        given["steps"] = [{"say": "hi"}]
    return spec.define(kind, given.pop("task", None), root=given.pop("root", None), **given)


def test_steps_code_and_prompts_become_the_task() -> None:
    assert define(steps=[{"say": "x"}]).spec.task == [{"say": "x"}]
    assert define("python", code="tools.read('a')").spec.task == "tools.read('a')"
    assert define("claude", task="do it").spec.task == "do it"


@pytest.mark.parametrize(
    "text",
    ["- read: a.txt\n- say: done\n", '[{"read": "a.txt"}, {"say": "done"}]', "steps:\n- read: a.txt\n- say: done"],
)
def test_the_task_of_a_script_may_be_yaml_or_json(text: str) -> None:
    assert define(task=text).spec.task == [{"read": "a.txt"}, {"say": "done"}]


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("script", {"task": "a: [b"}, "no YAML"),
        ("script", {"task": "just a text"}, "list of steps"),
        ("script", {"code": "x"}, "code= is for python"),
        ("script", {"steps": [{"say": "x"}], "task": "y"}, "not task and steps together"),
        ("python", {"steps": [{"say": "x"}]}, "steps= is for script"),
        ("python", {"task": None}, "wants code"),
        ("claude", {"task": "  "}, "not empty"),
        ("claude", {"task": {"a": 1}}, "is a text"),
        ("script", {"priority": "urgent"}, "operator, normal, background"),
        ("script", {"boundary": "none"}, "tools, native"),
        ("script", {"claims_mode": "greedy"}, "exclusive, shared"),
        ("script", {"ttl": -1}, "above 0"),
        ("script", {"ttl": float("nan")}, "above 0"),
        ("script", {"name": "a/b"}, "no name for an agent"),
        ("script", {"name": ""}, "no name for an agent"),
        ("script", {"claims": ["a.txt"]}, "kind:name"),
        ("script", {"claims": [3]}, "no work unit"),
        ("script", {"options": {"x": object()}}, "JSON can hold"),
        ("script", {"model": 3}, "model"),
    ],
)
def test_what_makes_no_sense_is_found_before_anything_is_sent(kind: str, given: dict, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        define(kind, **given)


def test_the_words_for_modes_and_priorities_become_the_core_s() -> None:
    found = define(claims="file:a", claims_mode="shared", priority="background").spec
    assert (found.claims, found.claims_mode, found.priority) == (("file:a",), Mode.SHARED, Priority.BACKGROUND)


def test_two_spellings_of_a_file_are_claimed_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "link.txt").symlink_to("a.txt")
    assert define(root=tmp_path, claims=["file:./a.txt", "file:x/../a.txt", "file:link.txt"]).spec.claims == (
        "file:a.txt",
    )


def test_a_claim_that_leaves_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    for unit in ("file:../x", "file:out/passwd", "file:/etc/passwd"):
        with pytest.raises(OutsideWorkspace):
            define(root=tmp_path, claims=[unit])


def test_references_are_resolved_here_and_only_they_are_in_the_spec(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("from a file\n")
    made = define(env={"A": "env:TOKEN", "B": f"file:{key}", "C": "plain"}, environ={"TOKEN": "s3cret"})
    assert made.secrets == {"A": "s3cret", "B": "from a file", "C": "plain"}
    assert made.spec.env == {"A": "env:TOKEN", "B": f"file:{key}", "C": "literal:***"}
    assert "s3cret" not in repr(made) and "plain" not in repr(made)


@pytest.mark.parametrize(
    ("kind", "model", "found"),
    [
        ("claude", None, {"ANTHROPIC_API_KEY"}),
        ("codex", None, {"OPENAI_API_KEY"}),
        ("opencode", "anthropic/claude-sonnet-4-5", {"ANTHROPIC_API_KEY"}),
        ("opencode", "mine/small", set()),
        ("opencode", None, set()),
        ("acp", "big", set()),
    ],
)
def test_an_exported_key_is_handed_to_whom_it_is_for(kind: str, model: str | None, found: set[str]) -> None:
    exported = {"ANTHROPIC_API_KEY": "s3cret", "OPENAI_API_KEY": "s3cret", "OTHER": "s3cret"}
    made = spec.define(kind, "do it", root=None, model=model, environ=exported)
    assert made.spec.env == {key: f"env:{key}" for key in found}
    assert made.secrets == dict.fromkeys(found, "s3cret")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"A": "env:NOPE"}, "'NOPE' is not set"),
        ({"A": "file:/no/such"}, "cannot be read"),
        ({"": "x"}, "no name"),
        ({"A": 3}, "must be a text"),
    ],
)
def test_a_reference_that_leads_nowhere_is_named(env: dict, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        define(env=env, environ={})


@pytest.mark.parametrize(
    ("workdir", "says"),
    [
        ("missing", "does not exist"),
        ("file", "not a directory"),
        ("/", "cannot be a workspace"),
        ("nul\0", "no folder"),
    ],
)
def test_a_workdir_that_cannot_be_one_is_refused(tmp_path: Path, workdir: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match=says):
        spec.workspace(workdir if workdir == "/" else tmp_path / workdir)


def test_ids_are_unique_and_sort_by_time() -> None:
    earlier, later = spec.new_id("r", 1_700_000_000_000), spec.new_id("r", 1_700_000_000_001)
    assert earlier < later and len(earlier) == len(later) == 16
    assert len({spec.new_id("r", 1) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("unit", ["file:var/lab/config.toml", "dir:var/lab", "dir:var/../near", "dir:link/agents"])
def test_a_claim_in_agentlabs_home_is_refused_as_its_runner_would(tmp_path: Path, unit: str) -> None:
    home = tmp_path / "var" / "lab"
    home.mkdir(parents=True)
    (tmp_path / "near").symlink_to("var/lab")
    (tmp_path / "link").symlink_to(home)
    with pytest.raises(OutsideWorkspace, match="lies in agentlab's own home, which is no part of the workspace"):
        define(root=tmp_path, home=home, claims=[unit])
    assert define(root=tmp_path, home=home, claims=["dir:var"]).spec.claims == ("dir:var",)
