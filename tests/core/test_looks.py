"""Which commands only look."""

from __future__ import annotations

import pytest

from agentlab.core.looks import only_looks


@pytest.mark.parametrize(
    "command",
    [
        "cat a.txt",
        "/bin/bash -lc 'cat a.txt'",
        "bash -lc 'cd src && rg -n needle . | head -20'",
        "ls -la; wc -l a.txt",
        "find . -name '*.py' -print",
        "sed -n 10,20p a.txt",
        "sed -n '$p' a.txt b.txt",
        "/usr/bin/grep -rn x .",
        ["head", "-1", "a.txt"],
    ],
)
def test_what_can_only_look_is_known(command: str | list[str]) -> None:
    assert only_looks({"command": command})


@pytest.mark.parametrize(
    "command",
    [
        "find . -delete",
        "find . -exec rm {} +",
        "find . -name x -ok rm {} ;",
        "find . -fprintf out x",
        "bash -lc 'find . -execdir sh x \\;'",
        "rg --pre ./evil.sh x .",
        "rg --pre=./evil.sh x",
        "rg -z x",
        "rg -nz x",
        "cat a.txt > b.txt",
        "cat a.txt | tee b.txt",
        "cat a.txt && rm a.txt",
        "cat $(rm a.txt)",
        "cat `rm a.txt`",
        "cat <(rm a.txt)",
        "sed -i s/a/b/ a.txt",
        "sed -n 'w out' a.txt",
        "sed -n 1p -i a.txt",
        "sed -n '1e rm a.txt' a.txt",
        "sort -o a.txt a.txt",
        "./cat a.txt",
        "bin/cat a.txt",
        "PATH=. cat a.txt",
        "env PATH=. cat a.txt",
        "xargs rm",
        "git status",
        "bash -lc 'cat",
        "",
    ],
)
def test_whatever_else_a_command_could_do_it_does_not_only_look(command: str) -> None:
    assert not only_looks({"command": command})


def test_variables_that_come_with_a_command_could_make_another_of_it() -> None:
    assert not only_looks({"command": "cat a.txt", "env": {"PATH": "."}})
    assert not only_looks("cat a.txt")
    assert not only_looks({"path": "a.txt"})
