"""Run as a program: tell all scenarios and some random scripts, and print every event as it was chosen, with its dhash."""

from __future__ import annotations

import sys
from typing import Any

from scenarios import SCENARIOS, random_duel
from world import World, folded, stored, view

from agentlab.core.digest import dhash

_ask = World.ask


def ask(self: World, command: Any) -> Any:
    known = len(self.log)
    reply = _ask(self, command)
    for event, encoded in zip(self.log[known:], self.encoded[known:], strict=True):
        sys.stdout.buffer.write(encoded + b" " + dhash(event).encode() + b"\n")
    return reply


def main(seeds: int) -> None:
    World.ask = ask  # type: ignore[method-assign]
    for story in SCENARIOS:
        sys.stdout.write(f"# {story.__name__}\n")
        sys.stdout.flush()
        story()
    for seed in range(seeds):
        sys.stdout.write(f"# {seed}\n")
        sys.stdout.flush()
        world = random_duel(seed, 150)
        events = [stored(event) for event in world.log]
        assert [dhash(event) for event in events] == [dhash(event) for event in world.log], "the log keeps the dhash"
        sys.stdout.buffer.write(view(folded(events)) + b"\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
