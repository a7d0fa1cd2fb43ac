"""What the documents say is so: links lead somewhere, commands and methods exist, code compiles."""

from __future__ import annotations

import json
import pkgutil
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import nbformat
import pytest

import agentlab
from agentlab import config
from agentlab.cli import build
from agentlab.client import profiles
from agentlab.notebook.magics import table

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {path.name: path.read_text() for path in DOCUMENTS} | {
    path.name: "\n\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"
    )
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
}
README = TEXTS["README.md"]

each_text = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)


def fenced(text: str, *languages: str) -> Iterator[str]:
    """The code blocks of these languages; '' is none."""
    for language, code in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S):
        if language in languages:
            yield code


def said(text: str) -> Iterator[str]:
    """Lines of code blocks, without the shell's prompt, and code within sentences."""
    for code in fenced(text, "", "console"):
        yield from (line.removeprefix("$ ").strip() for line in code.splitlines())
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def commands(text: str) -> Iterator[tuple[click.Group, list[str]]]:
    """What is said to `agentlab` or `%agent`, with the table that must know it."""
    for line in said(text):
        if found := re.match(r"(agentlab|%{1,2}agent)\s+(.+)", line):
            words = shlex.split(found[2], comments=found[1] == "agentlab")  # a magic has no comments
            while words and words[0].startswith("--"):  # --home DIR, before the command
                del words[:2]
            if words and re.fullmatch(r"[a-z]+", words[0]):
                yield (build() if found[1] == "agentlab" else table()), words


def test_the_documents_are_there() -> None:
    assert {"README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "quickstart.ipynb"} <= set(TEXTS)
    linked = set(re.findall(r"\]\(docs/(\w+\.md)", README))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")}, "all of them can be found from the first one"
    assert "BSD 3-Clause" in (ROOT / "LICENSE").read_text()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if not re.match(r"https?://|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), target


@each_text
def test_commands_and_options_exist(text: str) -> None:
    for group, words in commands(text):
        command: click.Command = group
        for word in words:
            if isinstance(command, click.Group):
                assert word in command.commands, f"{group.name} {' '.join(words)}"
                command = command.commands[word]
            elif word == "#":
                raise AssertionError(f"a comment is an argument to a magic: {' '.join(words)}")
            elif re.match(r"--?[a-z]", word):
                known = {option for param in command.params for option in param.opts} | {"--help"}
                assert word.partition("=")[0] in known, f"{group.name} {' '.join(words)}: {word}"


def test_the_readme_shows_enough_commands_for_that_to_mean_something() -> None:
    assert len(list(commands(README))) >= 8


@each_text
def test_python_blocks_compile(text: str) -> None:
    for code in fenced(text, "python"):
        compile(code, "<document>", "exec")


def test_the_settings_that_the_documents_show_are_ones(tmp_path: Path) -> None:
    entry = {"id": "some-agent", "distribution": {"npx": {"package": "some-agent"}}}
    (tmp_path / "registry.json").write_text(json.dumps({"agents": [entry]}))
    names = set()
    for code in (code for text in TEXTS.values() for code in fenced(text, "toml")):
        if "[processes]" not in code:  # a workspace's
            (tmp_path / "config.toml").write_text(code)
            names |= config.load(tmp_path).agents.keys()
            for name in config.load(tmp_path).agents:
                kind, given = profiles.resolve(tmp_path, name, {})
                assert (kind, given["boundary"]) == ("acp", "native")
    assert names == {"mine", "listed"}


@each_text
def test_methods_exist(text: str) -> None:
    of = {"run": agentlab.Run, "lab": agentlab.Lab, "ann": agentlab.AgentHandle, "agentlab": agentlab}
    for name, method in re.findall(r"\b(run|lab|ann|agentlab)\.([a-z]\w*)\(", text):
        assert hasattr(of[name], method), f"{name}.{method}"


@each_text
def test_make_targets_exist(text: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {match[1] for line in said(text) if (match := re.match(r"make ([a-z]+)", line))} <= targets


def test_the_readme_names_the_two_commands() -> None:
    assert "make demo" in README and "make test" in README
    assert len(README.splitlines()) <= 180


def test_modules_that_the_architecture_names_exist() -> None:
    rooms = {path.stem for path in (ROOT / "agentlab").iterdir() if not path.name.startswith("_")}
    names = {
        name
        for name in re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)+)`", TEXTS["ARCHITECTURE.md"])
        if name.partition(".")[0] in rooms and not name.endswith((".py", ".json"))
    }
    assert len(names) > 15
    for name in names:
        assert pkgutil.resolve_name(f"agentlab.{name}"), name


def test_every_room_is_in_the_architecture() -> None:
    for path in (ROOT / "agentlab").iterdir():
        if not path.name.startswith(("_", ".")) and path.name != "py.typed":
            assert f"`{path.name}" in TEXTS["ARCHITECTURE.md"], path.name


def test_the_picture_is_plain_svg() -> None:
    for path in re.findall(r"!\[.+?\]\((.+?\.svg)\)", README):
        picture = ElementTree.parse(ROOT / path).getroot()
        assert picture.tag.endswith("}svg")
        assert not [
            each for each in picture.iter() if each.tag.rpartition("}")[2] in ("script", "image", "foreignObject")
        ]


def test_no_file_names_something_outside_of_the_project() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a checkout")
    outside = re.compile(r"/(?:root|work|shared)/|pypi\.org|registry\.npmjs")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and path.stat().st_size < 1_000_000:
            found = outside.search(path.read_text(errors="replace"))
            assert not found, f"{name}: {found and found[0]}"
