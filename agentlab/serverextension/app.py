"""The extension: settings, and the table of its routes."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from traitlets import CaselessStrEnum, Unicode, default

from agentlab.client.target import Target, link_url
from agentlab.config import home_dir

from . import forwarded
from .forward import ForwardHandler
from .handlers import Unknown
from .sockets import StreamHandler
from .spawning import Labs, SpawnHandler
from .status import StatusHandler
from .upstream import Upstream, token_of


@dataclass(frozen=True)
class Gateway:
    """What the handlers need. `files`: where relative workdirs begin."""

    upstream: Upstream
    labs: Labs
    files: Path


class AgentLabApp(ExtensionApp):
    """agentlab in the Jupyter server: a gateway to the plane."""

    name = "agentlab"
    load_other_extensions = True
    extension_url = "/lab"

    mode = CaselessStrEnum(
        ("spawn", "connect"),
        help="spawn: find the plane of `home`, or start it. connect: use the one at `url`. Default: connect where a url is given.",
        config=True,
    )
    home = Unicode(help="Home of the plane. Default: $AGENTLAB_HOME, else the user's data folder.", config=True)
    url = Unicode(
        help="Address of the plane for mode=connect: http[s]://host:port. Default: $AGENTLAB_URL.", config=True
    )
    token_file = Unicode(
        "", help="For mode=connect: the file that holds the plane's token. Default: the token is in $AGENTLAB_TOKEN.", config=True
    )  # fmt: skip

    @default("mode")  # type: ignore[untyped-decorator]
    def _mode(self) -> str:
        return "connect" if self.url else "spawn"

    @default("home")  # type: ignore[untyped-decorator]
    def _home(self) -> str:
        return str(home_dir())

    @default("url")  # type: ignore[untyped-decorator]
    def _url(self) -> str:
        return os.environ.get("AGENTLAB_URL", "")

    def initialize_settings(self) -> None:
        self.gateway = self._gateway()

    def initialize_handlers(self) -> None:
        self.handlers.extend(routes(self.gateway))

    async def stop_extension(self) -> None:
        await self.gateway.upstream.close()
        await asyncio.to_thread(self.gateway.labs.close)

    def _gateway(self) -> Gateway:
        home = home_dir(self.home)
        files = Path(self.serverapp.root_dir if self.serverapp is not None else ".").resolve()
        if self.mode == "spawn":
            return Gateway(Upstream(home), Labs(Target(home)), files)
        token = token_of(self.token_file)
        upstream = Upstream(home, self.url, token)
        return Gateway(upstream, Labs(Target(home, link_url(upstream.url), start=False, token=token)), files)


def routes(gateway: Gateway) -> list[tuple[str, type[Any], dict[str, Any]]]:
    """For tornado, below the base url; the last one takes what no other does."""
    given = {"gateway": gateway}
    table: list[tuple[str, type[Any], dict[str, Any]]] = [
        (r"/agentlab/status", StatusHandler, given),
        (r"/agentlab/spawn", SpawnHandler, given),
    ]
    for pattern, methods in forwarded.by_path(forwarded.SOCKETS).items():
        table.append((f"/agentlab/{pattern}", StreamHandler, given | {"route": methods["GET"]}))
    for pattern, methods in forwarded.by_path(forwarded.ROUTES).items():
        table.append((f"/agentlab/{pattern}", ForwardHandler, given | {"routes": methods}))
    table.append((r"/agentlab(/.*)?", Unknown, given))
    return table
