"""Tokens are known by their shape, and a secret that comes in two pieces is found too."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agentlab.core.events import Artifact, ProcOutput
from agentlab.core.redaction import Redactor
from agentlab.runner.tools.ledger import Ledger
from agentlab.runner.tools.output import CHUNK, STREAMED, Output
from agentlab.testing.gate import MemoryGate, MemoryPlane

A36 = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY1zA2"
KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    + "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU\n" * 60
    + "-----END OPENSSH PRIVATE KEY-----"
)
TOKENS = {  # put together here, so that no scanner of repositories takes them for real ones
    "anthropic-key": "sk-" + "ant-api03-" + A36,
    "openrouter-key": "sk-" + "or-v1-" + "0123456789abcdef" * 4,
    "openai-key": "sk-" + "proj-" + A36,
    "github-token": "gh" + "p_" + A36,
    "gitlab-token": "glpat" + "-" + A36[:20],
    "google-key": "AI" + "za" + A36[:35],
    "aws-key": "AK" + "IA" + "ABCDEFGH12345678",
    "slack-token": "xox" + "b-" + "123456789012-abcdef",
    "huggingface-token": "hf" + "_" + A36,
    "npm-token": "npm" + "_" + A36,
    "pypi-token": "pypi-" + "AgEIcHlwaS5vcmc" + A36,
    "jwt": "ey" + "JhbGciOiJIUzI1NiJ9." + "ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0." + A36,
    "private-key": KEY,
}
PAT = "github" + "_pat_" + "11ABCDEFG0" + A36


@pytest.mark.parametrize(("name", "token"), [*TOKENS.items(), ("github-token", PAT)])
def test_a_token_is_known_by_its_shape_in_texts_and_in_bytes(name: str, token: str) -> None:
    redactor = Redactor({})
    for before, after in (("", ""), ("key=", "\n"), ('{"k": "', '"}'), ("ü ", " ü"), ("https://x:", "@host/")):
        told = f"{before}[redacted:{name}]{after}"
        assert redactor.text(before + token + after) == told
        assert redactor.data((before + token + after).encode()) == told.encode()
        assert redactor.found_in((before + token + after).encode())
    assert redactor.value({"args": [token]}) == {"args": [f"[redacted:{name}]"]}


@pytest.mark.parametrize(
    "text",
    [
        "sk-estimator-doc-link-fitted sk-toggleable__label-arrow sk-container-id-12",
        "task-0123456789ABCDEFabcdef0123456789",
        "disk-Usage2-of-this-very-long-name-here",
        "sk-learn",
        "ghp_short",
        "high_ghost_through github_pattern",
        "AKIAIOSFODNN7EXAMPLEANDMORE",
        "eyJhbGciOi.not.one",
        "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 40 + "\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY----- is how a key begins.",
        "AIza is a prefix",
        "0123456789abcdef" * 4,
    ],
)
def test_what_only_looks_a_little_like_a_token_stays(text: str) -> None:
    assert Redactor({}).text(text) == text
    assert Redactor({}).data(text.encode()) == text.encode()
    record = {"text": [text, (text,)]}
    assert Redactor({}).value(record) is record


@pytest.mark.parametrize(
    "text", ["sk-", "-----BEGIN PRIVATE KEY-----", "eyJ", "-----BEGIN ", "ghp_", "eyJaaaaaaaaaa.", "a", "-----"]
)
def test_texts_made_to_be_slow_to_look_through_are_not(text: str) -> None:
    def took(times: int) -> float:
        begun = time.process_time()
        Redactor({}).text(text * times)
        Redactor({}).settled((text * times).encode())
        return time.process_time() - begun

    small, large = min(took(2_000) for _ in range(3)), took(32_000)
    assert large < max(small, 0.01) * 16 * 8, "sixteen times as much takes about sixteen times as long"


def output(directory: Path, redactor: Redactor) -> tuple[Output, MemoryGate]:
    class Redacting(MemoryGate):
        settled = redactor.settled  # type: ignore[assignment]

        def record(self, body, **columns):
            super().record(redactor.value(body), **columns)

        async def keep(self, data: bytes) -> str:
            return await super().keep(redactor.data(data))

    gate = Redacting(MemoryPlane(), "a")
    return Output(Ledger(gate), "p1", 1, directory), gate


def told(gate: MemoryGate) -> list[str]:
    return [body.data for body in gate.of(ProcOutput)]


@pytest.mark.parametrize("token", [*TOKENS.values(), "correct horse battery"], ids=[*TOKENS, "a bound secret"])
async def test_a_secret_that_comes_in_two_pieces_is_in_no_record(tmp_path: Path, token: str) -> None:
    redactor = Redactor({"KEY": "correct horse battery"})
    whole = f"the key is {token}\nand more\n".encode()
    cuts = range(1, len(whole)) if len(whole) < 200 else range(1, len(whole), 97)
    for cut in cuts:
        out, gate = output(tmp_path, redactor)
        await out.feed(whole[:cut])
        await out.feed(whole[cut:])
        await out.finish()
        assert "".join(told(gate)) == redactor.text(whole.decode()), cut
        assert out.text() == whole.decode(), "the agent gets what was printed"
        out.close()


@pytest.mark.parametrize("size", [50, 1000, 65536])
async def test_a_secret_across_the_cuts_that_records_make_is_in_no_record(tmp_path: Path, size: int) -> None:
    token = TOKENS["github-token"]
    for before in range(CHUNK - 60, CHUNK + 5, 13):
        out, gate = output(tmp_path, Redactor({}))
        data = b"." * (before - 1) + b" " + f"{token} {KEY}\n".encode() + "ü".encode() * CHUNK
        for start in range(0, len(data), size):
            await out.feed(data[start : start + size])
        await out.finish()
        text = "".join(told(gate))
        assert text == Redactor({}).text(data.decode())
        (kept,) = [gate.plane.blobs[a.hash] for a in gate.of(Artifact)]
        assert token.encode() not in kept and b"b3BlbnNz" not in kept
        out.close()


async def test_the_first_half_of_a_secret_is_not_left_where_the_log_of_a_long_output_ends(tmp_path: Path) -> None:
    token = TOKENS["anthropic-key"]
    out, gate = output(tmp_path, Redactor({}))
    await out.feed(b"." * (STREAMED - 20) + b" " + token.encode() + b"\n" + b"x" * 100)
    await out.finish()
    assert "sk-" not in "".join(told(gate))
    assert "bytes more, in the artifact" in told(gate)[-1]
    out.close()


async def test_a_line_that_ends_like_the_beginning_of_a_secret_is_told_in_the_end(tmp_path: Path) -> None:
    out, gate = output(tmp_path, Redactor({}))
    await out.feed(b"what is ghp_")
    assert told(gate) == ["what is "]
    await out.feed(b"? a prefix\n")
    await out.feed(b"and sk-")
    await out.finish()
    assert "".join(told(gate)) == "what is ghp_? a prefix\nand sk-"
    out.close()
