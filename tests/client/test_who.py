"""Whose name the log keeps."""

from __future__ import annotations

import pytest

from agentlab.client.who import user_name


def test_under_jupyterhub_it_is_the_hubs_user_not_the_systems_who_is_the_same_for_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOGNAME", "jovyan")
    monkeypatch.setenv("JUPYTERHUB_USER", "ann\x1b[31m@example.org")
    assert user_name() == "ann@example.org"
    for none in ("", " "):
        monkeypatch.setenv("JUPYTERHUB_USER", none)
        assert user_name() == "jovyan"
