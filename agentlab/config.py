"""Settings of one home: `$AGENTLAB_HOME/config.toml` over these defaults. Times are seconds."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from agentlab.core.policy import Rule
from agentlab.errors import BadRequest


class Intervals(Struct, frozen=True, forbid_unknown_fields=True):
    heartbeat: float = 15.0  # of runtimes and runners
    sweep: float = 30.0
    delta: float = 0.02  # row deltas are gathered this long
    checkpoint: float = 5.0  # after this long without a commit
    stop: float = 10.0  # a stopping agent has this long before its processes are killed
    idle_exit: float = 21_600.0  # a plane without clients and agents ends; 0 = never


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    offline: float = 150.0  # without heartbeat until a runtime counts as offline; Multica's threshold
    recently_lost: float = 300.0  # offline for less than this
    gc_soon: float = 6 * 86400.0
    gc: float = 7 * 86400.0  # offline runtimes without agents are forgotten
    dispatched: float = 300.0  # an agent whose runner does not come up
    queued: float = 7200.0  # an agent that no runtime takes
    idle_run: float = 7200.0  # a run of a session that is gone, without live agents
    pause_hold: float = 1800.0  # a paused agent keeps its locks so long
    bypass: int = 8  # times that a waiting request may be passed by ones of a higher priority
    hold: float = 240.0  # one wait inside a tool call
    stall: float = 300.0  # without a sign of life of an agent at work until `ps` says so
    stall_in_tool: float = 1800.0  # the same while one of its tools runs
    idle: float = 1800.0  # until it is ended for it; Multica's thresholds, this and the next
    idle_in_tool: float = 7200.0
    blob: int = 64 * 1024 * 1024  # bytes; larger files are recorded by hash only
    snapshot_files: int = 20_000
    snapshot_bytes: int = 512 * 1024 * 1024
    children: int = 8  # processes that one agent may run at once
    ended_runs: int = 200  # ended runs whose rows stay in memory; the log has them all
    backlog: int = 8 * 1024 * 1024  # bytes that may wait for a slow subscriber before it is served from the log


class Local(Struct, frozen=True, forbid_unknown_fields=True):
    slots: int = 20
    spare: bool = True  # a runner that is started ahead, once there was an agent; it takes 30 to 100 MB


class CLIProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """A further agent program to detect: how to ask its version, and the least that will do."""

    command: str
    version_args: tuple[str, ...] = ("--version",)
    minimum: str | None = None


Network = Literal["none", "model", "all"]


class Confinement(Struct, frozen=True, forbid_unknown_fields=True):
    """What the commands of agents may do, and their own programs where those keep tools of their own. mode "auto": bubblewrap
    where it works, else Landlock, else nothing, which is said.

    network: "none", "model" (a program reaches its model, and that alone; a command, which needs none, reaches nobody) or "all";
    true is "all", false "none". What cannot be had is refused.
    writable: folders outside of the workspace that they may write as well, such as "~/.cargo".
    """

    mode: Literal["auto", "bubblewrap", "landlock", "none"] = "auto"
    network: Network | bool = "all"
    writable: tuple[str, ...] = ()

    @property
    def reaches(self) -> Network:
        """network, by its name."""
        if isinstance(self.network, bool):
            return "all" if self.network else "none"
        return self.network


class Models(Struct, frozen=True, forbid_unknown_fields=True):
    """What agents' programs and their models say to each other. record: keep it in the log, where the address of the model
    can be set. body: bytes; of a larger request or answer only the size is kept."""

    record: bool = True
    body: int = 16 * 1024 * 1024


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """An agent with a name: `[agents.NAME]`. kind: one that there is, or none and a command that speaks the Agent Client
    Protocol. All kinds take env, model, boundary and options (those of the kind's driver); the rest, where it says nothing
    to a kind, is refused. command: the program, with arguments for acp, cli, gemini and opencode; claude and codex: alone.

    protocol: what the program speaks. There is "acp", which only acp, gemini and opencode may say; none: what the kind
    speaks. boundary: it holds for every agent of this profile; a spawn that asks for another one is refused. registry: path
    (from the home) of an ACP registry's JSON file; its entry `id` is then the command, with the entry's variables.
    builtins_off: arguments that switch off all tools of its own ([]: it has none); without it only boundary="native" holds.
    """

    kind: str = "acp"
    protocol: str | None = None
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}  # NAME -> env:NAME, file:/path
    model: str | None = None
    boundary: str | None = None
    builtins_off: tuple[str, ...] | None = None
    mode: str | None = None
    registry: str | None = None
    id: str | None = None
    options: dict[str, Any] = {}


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    intervals: Intervals = Intervals()
    limits: Limits = Limits()
    local: Local = Local()
    sandbox: Confinement = Confinement()
    models: Models = Models()
    clis: dict[str, CLIProfile] = {}
    agents: dict[str, Profile] = {}
    policy: tuple[Rule, ...] = ()  # what answers for a person, see `core.policy`
    http: bool = True  # serve the HTTP API on loopback


def home_dir(home: str | Path | None = None) -> Path:
    """Where everything is kept: the argument, else `$AGENTLAB_HOME`, else the user's data folder. Not created here."""
    if home is None:
        home = os.environ.get("AGENTLAB_HOME")
    if home is None:
        import platformdirs

        home = platformdirs.user_data_dir("agentlab")
    return Path(home).expanduser().resolve()


def load(home: Path) -> Config:
    """The settings of a home. Raises BadRequest: no TOML, or a name or value that does not exist."""
    path = home / "config.toml"
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        return Config()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path} is no valid TOML: {error}") from None
    try:
        return msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{path}: {error}") from None
