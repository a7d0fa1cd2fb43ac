"""The clients of the lock benchmark: one process with N connections, each of which takes and gives back its own lock
again and again. One style for all: a coroutine for each client, over a lean asyncio protocol.

    python -m benchmarks.lockers ours|redis|etcd ADDRESS CLIENTS SECONDS     (a token, where needed, comes by stdin)

prints a `Load` as JSON.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from msgspec import Struct

from agentlab.link.streams import StreamProtocol

WARM = 0.3  # s before anything is counted
TTL = 60  # s
ROOT = Path(__file__).parent.parent

Pair = Callable[[], Awaitable[None]]
Open = Callable[[AsyncExitStack, str, str, int], Awaitable[list[Pair]]]


class Load(Struct, frozen=True, kw_only=True):
    """What the clients saw. Latencies of a pair in ms."""

    pairs: int
    seconds: float
    p50: float
    p99: float
    cpu: float  # us of the clients' own processor time for a pair

    @property
    def rate(self) -> float:
        return self.pairs / self.seconds


def drive(contender: str, address: str, clients: int, seconds: float, token: str = "") -> Load:
    """Run the clients in a process of their own, to the end."""
    argv = [sys.executable, "-m", "benchmarks.lockers", contender, address, str(clients), str(seconds)]
    done = subprocess.run(
        argv, cwd=ROOT, input=token, capture_output=True, text=True, check=False, timeout=seconds + 60
    )
    if done.returncode:
        raise RuntimeError(f"the clients of {contender} failed:\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Load)


async def load(contender: str, address: str, clients: int, seconds: float, token: str) -> Load:
    async with AsyncExitStack() as stack:
        pairs = await OPEN[contender](stack, address, token, clients)
        return await _measure(pairs, seconds)


async def _measure(pairs: Sequence[Pair], seconds: float) -> Load:
    begin = time.perf_counter() + WARM
    end = begin + seconds
    taken: list[float] = []
    asyncio.get_running_loop().call_later(WARM, lambda: used.append(time.process_time()))
    used: list[float] = []

    async def client(pair: Pair) -> None:
        now = time.perf_counter()
        while now < end:
            before = now
            await pair()
            now = time.perf_counter()
            if begin <= now <= end:
                taken.append(now - before)

    await asyncio.gather(*map(client, pairs))
    cpu = time.process_time() - used[0]
    taken.sort()
    if not taken:
        raise RuntimeError(f"not one pair within {seconds} s")
    p50, p99 = (1e3 * taken[len(taken) * percent // 100] for percent in (50, 99))
    return Load(pairs=len(taken), seconds=seconds, p50=p50, p99=p99, cpu=1e6 * cpu / len(taken))


# --- ours ----------------------------------------------------------------------------------------------------


async def _ours(stack: AsyncExitStack, address: str, token: str, clients: int) -> list[Pair]:
    """Claims in the run that the benchmark has opened, through the client of the link that everybody uses."""
    from agentlab.core.commands import Claim, Granted, Release
    from agentlab.link.client import LinkClient, hello

    token, _, run_id = token.partition("\n")

    async def one(number: int) -> Pair:
        link = await LinkClient.connect(address, hello(token, "bench"))
        stack.push_async_callback(link.close)
        owner = f"user:{number}"
        claim = Claim(owner=owner, units=(f"file:src/{number}.py",), run_id=run_id, ttl=TTL)

        async def pair() -> None:
            granted = await link.request(claim)
            if not isinstance(granted, Granted):
                raise RuntimeError(f"a free lock was not granted: {granted}")
            await link.request(Release(owner=owner, tickets=(granted.ticket,)))

        return pair

    return [await one(number) for number in range(clients)]


# --- Redis: SET NX PX, and compare-and-delete in a script ------------------------------------------------------

_DELETE_MINE = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end"


class _Resp(StreamProtocol):
    """Requests and the simple replies (+OK, :1, $n bulk) that locks need, in order. It reads as our own client does."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def received(self, data: memoryview) -> None:
        self._buffer += data
        while True:
            line, end, rest = self._buffer.partition(b"\r\n")
            if not end:
                return
            if line[:1] == b"$" and (size := int(line[1:])) >= 0:
                if len(rest) < size + 2:
                    return
                line, rest = rest[:size], rest[size + 2 :]
            self._buffer = rest
            self._waiting.popleft().set_result(line)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(exc or ConnectionError("redis closed the connection"))

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = self._loop.create_future()
        self._waiting.append(future)
        self._transport.write(request)
        return future

    def close(self) -> None:
        self._transport.close()


def _resp(*parts: str) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part.encode()) for part in parts)


async def _redis(stack: AsyncExitStack, address: str, token: str, clients: int) -> list[Pair]:
    loop = asyncio.get_running_loop()

    async def one(number: int) -> Pair:
        _, line = await loop.create_unix_connection(_Resp, address)
        stack.callback(line.close)
        script = (await line.ask(_resp("SCRIPT", "LOAD", _DELETE_MINE))).decode()
        key, me = f"lock:{number}", f"{os.getpid()}:{number}"
        take = _resp("SET", key, me, "NX", "PX", str(TTL * 1000))
        give = _resp("EVALSHA", script, "1", key, me)

        async def pair() -> None:
            if (taken := await line.ask(take)) != b"+OK":
                raise RuntimeError(f"a free lock was not granted: {taken!r}")
            if (given := await line.ask(give)) != b":1":
                raise RuntimeError(f"a held lock was not given back: {given!r}")

        return pair

    return [await one(number) for number in range(clients)]


# --- etcd: the Lock service, its messages written by hand -------------------------------------------------------

_CHANNELS = 8  # connections that the clients share: a channel each costs grpc more than it brings


async def _etcd(stack: AsyncExitStack, address: str, token: str, clients: int) -> list[Pair]:
    import grpc.aio  # type: ignore[import-untyped]

    channels = [
        await stack.enter_async_context(
            grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        )
        for _ in range(min(_CHANNELS, clients))
    ]

    async def one(number: int) -> Pair:
        channel = channels[number % len(channels)]
        grant = channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")
        lock, unlock = channel.unary_unary("/v3lockpb.Lock/Lock"), channel.unary_unary("/v3lockpb.Lock/Unlock")
        lease = _read(await grant(_int(1, TTL), wait_for_ready=True))[2]  # LeaseGrantRequest.TTL -> ID
        assert isinstance(lease, int)
        request = _bytes(1, f"lock-{number}".encode()) + _int(2, lease)  # LockRequest: name, lease

        async def pair() -> None:
            key = _read(await lock(request))[2]  # LockResponse.key
            assert isinstance(key, bytes)
            await unlock(_bytes(1, key))  # UnlockRequest.key

        return pair

    return [await one(number) for number in range(clients)]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _read(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message: varints and byte strings are all that these have."""
    fields: dict[int, int | bytes] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        value = varint()
        if tag & 7 == 2:
            fields[tag >> 3] = data[at : at + value]
            at += value
        else:
            fields[tag >> 3] = value
    return fields


OPEN: dict[str, Open] = {"ours": _ours, "redis": _redis, "etcd": _etcd}


def main() -> None:
    contender, address, clients, seconds = sys.argv[1:]
    seen = asyncio.run(load(contender, address, int(clients), float(seconds), sys.stdin.read()))
    print(msgspec.json.encode(seen).decode())


if __name__ == "__main__":
    main()
