"""Durable claim+release pairs a second through the real link, against etcd's Lock service and Redis that syncs always.

Each client takes and gives back a lock of its own, and waits for each answer. All three servers run throughout; the
clients of each, in a process of their own, take turns.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import ExitStack
from statistics import median

from msgspec import Struct

from agentlab.core.commands import StartRun
from agentlab.discovery import Plane
from agentlab.link.client import LinkClient, hello

from . import peers, servers
from .lockers import Load, drive
from .measure import Measure, alone, left_out, paired
from .servers import Server

CLIENTS = (1, 16, 64)
ROUNDS = 3
SECONDS = 2.0
TARGETS = {peers.ETCD: 3.5, peers.REDIS: 0.7}  # at 64 clients
OURS = "agentlab"
RUN = "bench"


class _Contender(Struct, frozen=True):
    kind: str
    server: Server
    address: str
    token: str = ""


class Seen(Struct, frozen=True):
    load: Load
    cpu: float  # us of the server for a pair


def run(
    quick: bool = False, clients: tuple[int, ...] = CLIENTS, against: tuple[str, ...] = (peers.ETCD, peers.REDIS)
) -> list[Measure]:
    rounds, seconds = (1, 0.4) if quick else (ROUNDS, SECONDS)
    there = [peer for peer in against if not peers.missing(peer)]
    with ExitStack() as stack:
        contenders = {name: _start(stack, name) for name in (OURS, *there)}
        seen: dict[tuple[str, int], list[Seen]] = defaultdict(list)
        for _ in range(rounds):
            for count in clients:
                for name, contender in contenders.items():
                    seen[name, count].append(_drive(contender, count, seconds))
    measures = []
    for count in clients:
        mine = seen[OURS, count]
        name = f"durable claim+release, {count} client{'s' if count > 1 else ''}"
        rates = [one.load.rate for one in mine]
        measures.append(alone(name, median(rates), "pairs/s", note=_note(mine)))
        for peer in against:
            if peer not in there:
                measures.append(left_out(name, peer, peers.missing(peer), median(rates), "pairs/s"))
                continue
            theirs = seen[peer, count]
            target = TARGETS[peer] if count == 64 else None
            measures.append(
                paired(
                    name, rates, "pairs/s", peer, [one.load.rate for one in theirs], target=target, note=_note(theirs)
                )
            )
    return measures


def _start(stack: ExitStack, name: str) -> _Contender:
    if name == peers.REDIS:
        return _Contender("redis", *stack.enter_context(peers.redis()))
    if name == peers.ETCD:
        return _Contender("etcd", *stack.enter_context(peers.etcd()))
    server, plane = stack.enter_context(servers.plane())
    asyncio.run(_open_run(plane, str(server.folder / "workspace")))
    return _Contender("ours", server, plane.address, f"{plane.token}\n{RUN}")


async def _open_run(plane: Plane, root: str) -> None:
    link = await LinkClient.connect(plane.address, hello(plane.token, "bench"))
    await link.request(StartRun(run_id=RUN, name=RUN, root=root, host="bench"))
    await link.close()


def _drive(contender: _Contender, clients: int, seconds: float) -> Seen:
    before = contender.server.cpu()
    load = drive(contender.kind, contender.address, clients, seconds, contender.token)
    # The processor's time covers the warm-up as well: it is shared out over the time, not over the pairs counted.
    share = load.seconds / (load.seconds + 0.3)
    return Seen(load, 1e6 * share * (contender.server.cpu() - before) / load.pairs)


def _note(seen: list[Seen]) -> str:
    p50, p99 = (median(getattr(one.load, key) for one in seen) for key in ("p50", "p99"))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, server {median(one.cpu for one in seen):.0f} us CPU a pair"
