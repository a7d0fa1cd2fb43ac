"""Where conversations of Gemini are kept: found by their session, moved to a folder of their own, and nothing else with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentlab.runner.drivers.gemini_sessions import conversation, link

SESSION = "cafd37b4-7a36-43ff-b7aa-51e04a7c47ef"
OTHER = "cafd37b4-0000-43ff-b7aa-51e04a7c47ef"


def keep(folder: Path, session: str, minute: str, *messages: str) -> Path:
    path = folder / f"session-2026-11-27T{minute}-{session[:8]}.jsonl"
    path.write_text("".join(f"{line}\n" for line in (json.dumps({"sessionId": session}), *messages)))
    return path


def test_a_conversation_moves_to_the_folder_of_who_goes_on_in_it(tmp_path: Path) -> None:
    first = conversation(tmp_path, None)
    keep(first, OTHER, "01-34", "another one")
    keep(first, SESSION, "01-35", "the first")
    second = conversation(tmp_path, SESSION)
    (kept,) = second.iterdir()
    assert "the first" in kept.read_text()
    keep(second, SESSION, "01-36", "begun by the program, and empty")
    third = conversation(tmp_path, SESSION)
    assert ["the first" in path.read_text() for path in third.iterdir()] == [True]
    assert len({first, second, third}) == 3
    assert third.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("session", [None, OTHER, "latest", "1", "*", "../../etc", SESSION[:8], ""])
def test_of_a_session_that_is_not_there_the_folder_is_empty(tmp_path: Path, session: str | None) -> None:
    keep(conversation(tmp_path, None), SESSION, "01-35")
    assert list(conversation(tmp_path, session).iterdir()) == []


def test_links_that_an_agent_left_lead_nowhere(tmp_path: Path) -> None:
    folder, outside = conversation(tmp_path, None), tmp_path / "outside"
    outside.mkdir()
    target = keep(outside, SESSION, "01-35")
    (folder / target.name).symlink_to(target)
    (folder / f"session-0-{SESSION[:8]}.jsonl").symlink_to(tmp_path / "nothing")
    (folder / f"session-1-{SESSION[:8]}.jsonl").mkdir()
    assert list(conversation(tmp_path, SESSION).iterdir()) == []
    assert target.exists()
    (folder / target.name).unlink()
    keep(folder, SESSION, "01-35", "mine")
    assert [path.is_symlink() for path in conversation(tmp_path, SESSION).iterdir()] == [False]


@pytest.mark.parametrize("head", [b"", b"[]", b"{", b"\xff\xfe", b'{"sessionId": 7}', b"x" * 100_000, b"[" * 100_000])
def test_a_file_that_says_nothing_of_a_session_is_none(tmp_path: Path, head: bytes) -> None:
    (conversation(tmp_path, None) / f"session-x-{SESSION[:8]}.jsonl").write_bytes(head)
    assert list(conversation(tmp_path, SESSION).iterdir()) == []


def test_a_program_that_starts_in_a_folder_keeps_its_conversations_where_it_is_told(tmp_path: Path) -> None:
    for _ in range(2):
        folder = conversation(tmp_path, None)
        link(tmp_path / "home", tmp_path / "home" / "start", folder)
        assert (tmp_path / "home" / ".gemini" / "tmp" / "start" / "chats").resolve() == folder
