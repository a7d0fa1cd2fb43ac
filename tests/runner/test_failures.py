"""Each failure that vendors report falls in a class with advice. The texts are as the real CLIs gave them."""

from __future__ import annotations

import pytest

from agentlab.runner.drivers.failures import classify, of_death


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("Failed to authenticate. API Error: 401 the server says no", 401, "auth"),
        ("Failed to authenticate. API Error: 403 the server says no", 403, "auth"),
        ("Not logged in · Please run /login", None, "auth"),
        ("invalid x-api-key", None, "auth"),
        ("Your credit balance is too low to access the Anthropic API.", 400, "quota"),
        ("You've hit your session limit · resets 3pm", 429, "quota"),
        ("API Error: 402 the server says no", 402, "quota"),
        ("API Error: Request rejected (429) · the server says no", 429, "rate_limit"),
        ("API Error: 500 the server says no. This is a server-side issue, usually temporary", 500, "server"),
        ("API Error: 529 Overloaded", 529, "server"),
        ("API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)", None, "network"),
        (
            "There's an issue with the selected model (x). It may not exist or you may not have access to it.",
            404,
            "model_not_found",
        ),
        ("The model `gpt-9` does not exist", None, "model_not_found"),
        ("API Error: 400 prompt is too long: 210000 tokens > 200000 maximum", 400, "context_overflow"),
        ("Request too large (max 32MB).", 413, "context_overflow"),
        ("Input exceeds the maximum length of 1048576 characters.", None, "context_overflow"),
        ("No conversation found with session ID: 1111", None, "resume_rejected"),
        ("Reached maximum number of turns (1) error_max_turns", None, "limit"),
        ("error_max_budget_usd", None, "limit"),
        ("API Error: 400 the server says no", 400, "invalid_request"),
        ("The operation timed out.", None, "timeout"),
        ("something else entirely", None, "unknown"),
        ("", None, "unknown"),
    ],
)
def test_a_failure_is_classified_by_its_status_and_words(text: str, status: int | None, reason: str) -> None:
    failure = classify(text, status=status)
    assert failure.reason == reason
    assert failure.advice


@pytest.mark.parametrize(
    "last_lines",
    [
        "Command failed with exit code -9 (exit code: -9)",
        "OSError: [Errno 122] Disk quota exceeded: 'build/a.o'",
        "E  pytest: connection refused",
        "requests.exceptions.ConnectTimeout: timed out",
        "curl: (6) Could not resolve host: ENOTFOUND",
        "git: fatal: Authentication failed for 'https://host/'",
        "429 Too Many Requests",
        "psycopg.OperationalError: internal server error",
        "model User not found",
        "",
    ],
)
def test_a_program_that_died_with_words_that_may_be_anybodys_is_a_process_failure(last_lines: str) -> None:
    failure = of_death(last_lines)
    assert (failure.reason, failure.retry) == ("process", False)
    assert failure.advice


@pytest.mark.parametrize(
    ("last_lines", "reason"),
    [
        ("Not logged in · Please run /login", "auth"),
        ("No conversation found with session ID: 1111", "resume_rejected"),
        ("Your credit balance is too low to access the Anthropic API.", "quota"),
        ("API Error: 529 Overloaded", "server"),
        ("API Error: Connection error.", "network"),
        ("Please set an Auth method in your settings.json", "auth"),
    ],
)
def test_a_program_that_died_for_a_reason_in_its_vendors_words_keeps_it(last_lines: str, reason: str) -> None:
    assert of_death(f"node:internal/process\n{last_lines}\n").reason == reason


def test_the_status_that_a_vendor_tells_of_a_death_decides() -> None:
    assert of_death("gone", status=401).reason == "auth"


def test_a_disk_that_is_full_is_no_account_that_is_empty() -> None:
    assert classify("Disk quota exceeded").reason == "unknown"


def test_the_advice_on_a_login_is_that_of_the_agents_kind() -> None:
    assert "`claude auth login`" in classify("", status=401, login="run `claude auth login`").advice


@pytest.mark.parametrize(("status", "retry"), [(429, True), (503, True), (401, False), (402, False), (404, False)])
def test_only_what_can_get_better_by_itself_is_worth_a_retry(status: int, retry: bool) -> None:
    assert classify("", status=status).retry is retry
