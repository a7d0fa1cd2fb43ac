"""A real kernel, over its real channels, as a front end sees it."""

from __future__ import annotations

import time
from collections.abc import Callable

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

WIDGET = "application/vnd.jupyter.widget-view+json"
SAY = '[{"say": "hi"}]'


class Kernel:
    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager, self.client = manager, client
        self.seen: list[dict] = []

    def run(self, code: str) -> list[dict]:
        """Run a cell; the messages that it caused, to its end."""
        id = self.client.execute(code)
        return self.until(
            lambda m: m["parent_header"].get("msg_id") == id and m["content"].get("execution_state") == "idle"
        )

    def until(self, wanted: Callable[[dict], bool]) -> list[dict]:
        messages: list[dict] = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = self.client.get_iopub_msg(timeout=60)
            messages.append(message)
            if wanted(message):
                return messages
        raise AssertionError(f"it did not come: {messages}")


def of(messages: list[dict], *types: str) -> list[dict]:
    return [m["content"] for m in messages if m["msg_type"] in types]
