"""The recorder between a program and its model: all of it passes, at once; what was said is kept, and no key."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from agentlab.core.events import ModelExchange
from agentlab.runner.model_proxy import Answered, ModelProxy, model_of, recorded, recorded_query, with_recorded_urls
from agentlab.runner.model_usage import Used
from agentlab.testing.gate import MemoryPlane

pytestmark = pytest.mark.timeout(60)

LIMIT = 1000
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Bench:
    """A recorder, the client before it, and a server behind it that says what the test wants."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.gate = MemoryPlane().gate("a")
        self.proxy = ModelProxy(self.gate, limit=LIMIT)
        self.client = httpx.AsyncClient(trust_env=False, timeout=30)
        self.heads: list[bytes] = []
        self._stack = stack
        stack.push_async_callback(self.client.aclose)
        stack.push_async_callback(self.proxy.close)

    async def upstream(self, answer: Answer) -> str:
        """The base URL, at the recorder, of a server that answers each request so. Given: the body, the writer."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
                await answer(body, writer)
                await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self._stack.callback(server.close)
        return self.proxy.url("anthropic", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base/")

    async def recorded(self, number: int = 1) -> list[ModelExchange]:
        while len(found := self.gate.of(ModelExchange)) < number:
            await asyncio.sleep(0.01)
        return found


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(stack)


async def hello(body: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b'connection: close\r\n\r\n{"id": "msg_1", "say": "hello"}')


async def test_headers_and_body_arrive_and_the_record_has_the_bodies_but_no_key(bench: Bench) -> None:
    url = await bench.upstream(hello)
    asked = {"model": "claude-x", "messages": []}
    answer = await bench.client.post(
        f"{url}/v1/messages?beta=true&key=topsecret",
        json=asked,
        headers={"x-api-key": "topsecret", "accept-encoding": "br"},
    )
    assert (answer.status_code, answer.json()["say"]) == (200, "hello")
    assert answer.headers["content-type"] == "text/event-stream"
    (head,) = bench.heads
    assert head.startswith(b"POST /base/v1/messages?beta=true&key=topsecret HTTP/1.1\r\n")
    assert b"x-api-key: topsecret" in head and b"accept-encoding: identity" in head
    (body,) = await bench.recorded()
    (entry,) = [entry for entry in bench.gate.entries if isinstance(entry.body, ModelExchange)]
    assert (entry.name, entry.status, body.code, body.response_id) == ("claude-x", "ok", 200, "msg_1")
    assert body.path == "/v1/messages?beta=true"
    assert json.loads(await bench.gate.fetch(body.request or "") or b"") == asked
    assert json.loads(await bench.gate.fetch(body.response or "") or b"")["say"] == "hello"
    assert "topsecret" not in repr(bench.gate.entries)


async def test_pieces_are_passed_on_as_they_come(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def slowly(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"connection: close\r\n\r\ndata: one\n\n")
        await writer.drain()
        await go_on.wait()
        writer.write(b"data: two\n\n")

    url = await bench.upstream(slowly)
    async with bench.client.stream("POST", f"{url}/v1/messages", json={}) as answer:
        pieces = answer.aiter_bytes()
        assert await anext(pieces) == b"data: one\n\n"
        assert bench.gate.of(ModelExchange) == [], "it is still being said"
        go_on.set()
        assert await anext(pieces) == b"data: two\n\n"
    (body,) = await bench.recorded()
    assert body.response_size == 22 and body.first_ns is not None


async def test_a_refusal_of_the_model_passes_with_its_headers_and_is_an_error_in_the_record(bench: Bench) -> None:
    async def busy(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Slow down\r\nretry-after: 7\r\nconnection: close\r\n\r\n{}")

    answer = await bench.client.post(f"{await bench.upstream(busy)}/v1/messages", json={"model": "m"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    (body,) = await bench.recorded()
    assert (body.code, bench.gate.entries[-1].status) == (429, "error")


async def test_what_is_compressed_is_kept_readable(bench: Bench) -> None:
    async def packed(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(b"plain"))

    answer = await bench.client.get(f"{await bench.upstream(packed)}/v1/models")
    assert answer.text == "plain"
    (body,) = await bench.recorded()
    assert await bench.gate.fetch(body.response or "") == b"plain"
    assert body.request is None


async def test_what_is_too_large_passes_whole_and_is_recorded_by_its_size(bench: Bench) -> None:
    async def large(body: bytes, writer: asyncio.StreamWriter) -> None:
        assert len(body) == 5 * LIMIT
        writer.write(HEAD + b"connection: close\r\n\r\n" + b"y" * 9 * LIMIT)

    answer = await bench.client.post(f"{await bench.upstream(large)}/v1", content=b"x" * 5 * LIMIT)
    assert len(answer.content) == 9 * LIMIT
    (body,) = await bench.recorded()
    assert (body.request, body.response) == (None, None)
    assert (body.request_size, body.response_size) == (5 * LIMIT, 9 * LIMIT)


async def test_a_model_that_is_not_there_is_said_to_the_program_and_in_the_record(bench: Bench) -> None:
    answer = await bench.client.post(f"{bench.proxy.url('openai', 'http://127.0.0.1:9')}/v1/responses", json={})
    assert answer.status_code == 502
    assert "could not reach the model at http://127.0.0.1:9" in answer.json()["error"]["message"]
    (body,) = await bench.recorded()
    assert body.code == 0 and "ConnectError" in body.error


async def test_an_answer_that_breaks_off_breaks_off_for_the_program_too(bench: Bench) -> None:
    async def breaks(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"content-length: 100\r\n\r\nhalf")

    with pytest.raises(httpx.RemoteProtocolError):
        await bench.client.post(f"{await bench.upstream(breaks)}/v1/messages", json={})
    (body,) = await bench.recorded()
    assert "RemoteProtocolError" in body.error
    assert await bench.gate.fetch(body.response or "") == b"half"


async def test_a_program_that_goes_away_ends_the_request_at_the_model(bench: Bench) -> None:
    gone = asyncio.Event()

    async def forever(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"connection: close\r\n\r\n")
        try:
            while True:
                writer.write(b"data: more\n\n")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    url = await bench.upstream(forever)
    async with bench.client.stream("POST", f"{url}/v1/messages", json={}) as answer:
        await anext(answer.aiter_bytes())
    await gone.wait()
    (body,) = await bench.recorded()
    assert body.error == "The program went away."


async def test_without_the_token_of_the_agent_nothing_is_passed_on(bench: Bench) -> None:
    url = await bench.upstream(hello)
    origin, _, number = url.rpartition("/")
    for wrong in (f"{origin}/7/v1", f"{origin[:-3]}xyz/{number}/v1", f"{origin.rpartition('/')[0]}/v1/messages"):
        assert (await bench.client.post(wrong, json={})).status_code == 404
    assert bench.heads == [] and bench.gate.of(ModelExchange) == []


@pytest.mark.parametrize("after", ["@127.0.0.1:{port}/v1", ".invalid/v1", ":{port}/v1", "%40127.0.0.1:{port}/v1", "x"])
async def test_no_path_leads_to_another_machine_than_the_models(bench: Bench, after: str) -> None:
    url = await bench.upstream(hello)
    own = bench.proxy.url("openai", "http://127.0.0.1")
    port = httpx.URL(url).port
    assert (await bench.client.post(own + after.format(port=port), json={})).status_code == 404
    assert bench.heads == [] and bench.gate.of(ModelExchange) == []


async def test_programs_are_led_here_where_their_address_is_known_and_past_the_proxies_of_the_machine(
    bench: Bench,
) -> None:
    env = {"OPENAI_BASE_URL": "https://models.example/v1", "HTTPS_PROXY": "http://proxy:1", "NO_PROXY": "intern"}
    led = with_recorded_urls(bench.proxy, env, {"OPENAI_BASE_URL": "openai", "ANTHROPIC_BASE_URL": "anthropic"})
    assert led["OPENAI_BASE_URL"].startswith("http://127.0.0.1:")
    assert led["NO_PROXY"] == led["no_proxy"] == "intern,127.0.0.1"
    assert "ANTHROPIC_BASE_URL" not in led
    assert with_recorded_urls(None, env, {"OPENAI_BASE_URL": "openai"}) == env
    assert recorded(None, "openai", "https://x/v1") == "https://x/v1"
    assert bench.proxy.url("a", "http://x/") == bench.proxy.url("a", "http://x"), "one address each"


def test_which_model_was_asked() -> None:
    assert model_of("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", b"{}") == "gemini-2.5-flash"
    assert model_of("/v1/messages", b'{"model": "claude-x", "max_tokens": 1}') == "claude-x"
    assert model_of("/v1/messages", b"no json") == model_of("/", b"") == model_of("/", b'{"model": 3}') == ""


def test_keys_in_a_query_are_not_recorded() -> None:
    assert recorded_query("alt=sse&key=AIza") == "?alt=sse"
    assert recorded_query("key=AIza&token=x") == recorded_query("") == ""


# --- what answers used -----------------------------------------------------------------------------------------

SPENT = b'{"id": "msg_1", "model": "m-1", "usage": {"input_tokens": 7, "output_tokens": 2}}'


async def test_who_meters_is_told_what_each_answer_used(bench: Bench) -> None:
    told: list[Answered] = []
    bench.proxy.meter = told.append

    async def spend(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"connection: close\r\n\r\n" + SPENT)

    url = await bench.upstream(spend)
    await bench.client.post(f"{url}/v1/messages", json={"model": "claude-x"})
    await bench.proxy.settled()
    ((provider, response_id, _, much),) = told
    assert (provider, response_id, much) == ("anthropic", "msg_1", Used(7, 2, 0, "claude-x"))


async def test_an_answer_that_is_too_large_to_be_kept_is_metered_by_its_end(bench: Bench) -> None:
    told: list[Answered] = []
    bench.proxy.meter = told.append

    async def ramble(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"connection: close\r\n\r\n")
        for _ in range(50):
            writer.write(b"data: " + b"x" * LIMIT + b"\n\n")
            await writer.drain()
        writer.write(b"data: " + SPENT + b"\n\n")

    url = await bench.upstream(ramble)
    await bench.client.post(f"{url}/v1/messages", json={})
    await bench.proxy.settled()
    assert [answer.used for answer in told] == [Used(7, 2, 0, "m-1")]
    assert (await bench.recorded())[0].response is None


async def test_who_listens_has_heard_an_answer_before_its_end_is_passed_on(bench: Bench) -> None:
    heard: list[bytes | None] = []
    bench.proxy.listener = heard.append
    pieces = [b"data: 1\n\n", b"data: 2\n\n"]

    async def stream(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"connection: close\r\n\r\n")
        for piece in [*pieces, *([b"x" * LIMIT] if body == b"much" else [])]:
            writer.write(piece)
            await writer.drain()

    url = await bench.upstream(stream)
    for number in range(1, 20):
        await bench.client.post(url, content=b"little")
        assert heard == [b"".join(pieces)] * number
    await bench.client.post(url, content=b"much")
    assert heard[-1] is None


async def test_an_answer_that_failed_uses_nothing(bench: Bench) -> None:
    told: list[Answered] = []
    bench.proxy.meter = told.append

    async def refuse(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 No\r\nconnection: close\r\n\r\n" + SPENT)

    await bench.client.post(f"{await bench.upstream(refuse)}/v1/messages", json={})
    await bench.proxy.settled()
    assert told == []


async def test_when_a_limit_resets_is_known_until_an_answer_passes_again(bench: Bench) -> None:
    answers = [b"HTTP/1.1 429 No\r\nretry-after: 30\r\nconnection: close\r\n\r\n{}", HEAD + b"\r\n{}"]

    async def refuse_once(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    url = await bench.upstream(refuse_once)
    before = time.time()
    await bench.client.post(f"{url}/v1/messages", json={})
    await bench.proxy.settled()
    assert bench.proxy.resets is not None and before + 30 <= bench.proxy.resets <= time.time() + 30
    await bench.client.post(f"{url}/v1/messages", json={})
    await bench.proxy.settled()
    assert bench.proxy.resets is None


FIRST = """
import asyncio, os, select, socket, sys
import httpx
from agentlab.runner.model_proxy import ModelProxy, preload
from agentlab.testing.gate import MemoryPlane

async def exchange():
    async def serve(reader, writer):
        await reader.readuntil(b"\\r\\n\\r\\n")
        writer.write(b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\n\\r\\nhello")
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = ModelProxy(MemoryPlane().gate("a"), limit=1000)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        url = proxy.url("openai", "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1])
        print((await client.get(url)).text)
    await proxy.close()
    server.close()

machines = socket.create_server(("127.0.0.1", 0))
os.environ["HTTP_PROXY"] = "http://127.0.0.1:%d" % machines.getsockname()[1]
preload()
print("asked" if select.select([machines], [], [], 0)[0] else "not asked")
del os.environ["HTTP_PROXY"]
before = set(sys.modules)
asyncio.run(exchange())
print(sorted(set(sys.modules) - before))
"""


def test_a_runner_that_waits_has_loaded_all_that_its_first_exchange_needs() -> None:
    env = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    said = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, timeout=60, env=env)
    assert (said.stdout.splitlines(), said.stderr) == (["not asked", "hello", "[]"], "")


async def test_what_a_program_says_of_its_model_can_be_told_with_its_own_address(bench: Bench) -> None:
    for number in range(11):
        ours = bench.proxy.url("openai", f"https://{number}.example/v1/")
    first = bench.proxy.url("openai", "https://0.example/v1")
    said = bench.proxy.plain(f"404 at {ours}/responses, then at {first}/models")
    assert said == "404 at https://10.example/v1/responses, then at https://0.example/v1/models"


async def test_the_status_of_a_refusal_is_known_until_the_model_answers_again(bench: Bench) -> None:
    status = b"403 Forbidden"

    async def answer(body: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")

    url = await bench.upstream(answer)
    await bench.client.post(f"{url}/v1/messages", json={})
    await bench.recorded()
    assert bench.proxy.refused == 403
    status = b"200 OK"
    await bench.client.post(f"{url}/v1/messages", json={})
    await bench.recorded(2)
    assert bench.proxy.refused is None
