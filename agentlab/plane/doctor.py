"""What works in this home and on this machine, what does not, and the next step where it does not. No network is used."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from msgspec import Struct

from agentlab import discovery
from agentlab.__about__ import PROTOCOL, __version__
from agentlab.config import Config, Profile, load
from agentlab.core.commands import CLI
from agentlab.errors import BadRequest, Unavailable
from agentlab.runtimes.base import Runtime
from agentlab.runtimes.detect import ask
from agentlab.sandbox import choose, probe_bubblewrap, probe_landlock
from agentlab.store import schema
from agentlab.store.reader import reader_uri

from . import logins

Verdict = Literal["ok", "warn", "fail"]

PATIENCE = 20.0  # s for the database; what could not be read in that time is said
ROOM = 1024**3  # bytes of free disk below which a log may soon be in the way
_LANDLOCK_SIGNALS = 6  # the version that keeps commands from signalling what is outside
_PRIVATE = ("plane.json", "secret", "agentlab.db", "agentlab.db-wal", "plane.sock")


class Check(Struct, frozen=True, kw_only=True):
    """fix: what to do, '' where nothing is to be done or `detail` says it. warn: something optional is missing or at risk."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Check:
    return Check(name=name, verdict="ok", detail=detail)


def warn(name: str, detail: str, fix: str = "") -> Check:
    return Check(name=name, verdict="warn", detail=detail, fix=fix)


def fail(name: str, detail: str, fix: str = "") -> Check:
    return Check(name=name, verdict="fail", detail=detail, fix=fix)


async def diagnose(home: Path, config: Config, runtime: Runtime) -> list[Check]:
    """All checks, at the same time, in a fixed order. A check that breaks is a failed check."""
    blocking: list[tuple[str, Callable[[], Check]]] = [
        ("home", lambda: home_folder(home)),
        ("database", lambda: database(home / "agentlab.db")),
        ("disk", lambda: disk(home)),
        ("plane", lambda: plane(home)),
    ]
    facts: list[tuple[str, Callable[[], Check]]] = [
        ("cgroup v2", cgroup),
        ("Docker", docker),
        ("Kubernetes", kubernetes),
    ]
    found = await asyncio.gather(
        *(_guarded(name, asyncio.to_thread(check)) for name, check in blocking),
        _guarded(f"runtime {runtime.id}", runtime_health(runtime)),
        _programs(runtime),
        _guarded("claude extra", claude_extra()),
        _guarded("agents extra", asyncio.to_thread(agents_extra)),
        _profiles(home),
        _guarded("sandbox", asyncio.to_thread(sandbox, home)),
        _guarded("bubblewrap", asyncio.to_thread(bubblewrap)),
        _guarded("Landlock", asyncio.to_thread(landlock, home)),
        *(_guarded(name, asyncio.to_thread(check)) for name, check in facts),
    )
    return [check for group in found for check in group]


async def _guarded(name: str, check: Awaitable[Check]) -> list[Check]:
    try:
        return [await check]
    except Exception as error:
        return [fail(name, f"The check itself failed: {type(error).__name__}: {error}")]


async def _programs(runtime: Runtime) -> list[Check]:
    try:
        return [check for cli in await runtime.detect() for check in (program(cli), *login(cli))]
    except Exception as error:
        return [fail("programs", f"They could not be looked for: {type(error).__name__}: {error}")]


# --- the home ----------------------------------------------------------------------------------------------


def home_folder(home: Path) -> Check:
    name = "home"
    try:
        found = home.stat()
    except OSError as error:
        return fail(name, f"{home}: {error.strerror}", "Set AGENTLAB_HOME to a folder of yours.")
    if not os.access(home, os.W_OK | os.X_OK):
        return fail(name, f"{home} cannot be written.", "Set AGENTLAB_HOME to a folder of yours.")
    if found.st_uid != os.getuid():
        return warn(
            name, f"{home} belongs to user {found.st_uid}, not to you.", "Set AGENTLAB_HOME to a folder of yours."
        )
    if found.st_mode & 0o077:
        return warn(name, f"{home} is open to others ({stat.filemode(found.st_mode)}).", f"chmod 700 {home}")
    loose = [file for file in _PRIVATE if (home / file).exists() and (home / file).stat().st_mode & 0o077]
    if loose:
        return warn(name, f"Open to others in {home}: {', '.join(loose)}.", f"chmod 600 {' '.join(loose)} (in {home})")
    return ok(name, str(home))


def database(path: Path, patience: float = PATIENCE) -> Check:
    """Its integrity, as far as can be read in `patience` seconds, beside a plane that goes on writing."""
    name = "database"
    if not path.exists():
        return ok(name, f"There is no log yet; it will be {path}.")
    size = f"{path} ({path.stat().st_size / 1e6:.1f} MB)"
    give_up = time.monotonic() + patience
    try:
        db = sqlite3.connect(reader_uri(path), uri=True, timeout=5.0)
        try:
            db.set_progress_handler(lambda: time.monotonic() > give_up, 10_000)
            newer = schema.version_of(db) > schema.SCHEMA_VERSION
            problems = [str(row[0]) for row in db.execute("PRAGMA quick_check(5)") if row[0] != "ok"]
        finally:
            db.close()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return warn(
                name, f"{size} is too large to be checked in {patience:g} s.", f"sqlite3 {path} 'PRAGMA quick_check'"
            )
        return fail(name, f"{size} cannot be read: {error}.", "See that the file is yours and its disk is there.")
    except sqlite3.DatabaseError as error:
        newer, problems = False, [str(error)]
    if problems:
        return fail(
            name,
            f"{size} is damaged: {'; '.join(problems)}.",
            f"Keep a copy, then try `sqlite3 {path} .recover`, or move it away to begin a new log.",
        )
    if newer:
        return fail(name, f"{size} was made by a newer agentlab.", "pip install -U agentlab")
    return ok(name, f"{size}, sound.")


def disk(home: Path) -> Check:
    free = shutil.disk_usage(home).free
    text = f"{free / 1e9:.1f} GB free for {home}."
    return ok("disk", text) if free >= ROOM else warn("disk", text, "Free some room: a full disk stops all grants.")


def plane(home: Path) -> Check:
    running = discovery.read(home)
    if running is None:
        stale = " Its state file is stale: it did not end by itself." if (home / "plane.json").exists() else ""
        return ok("plane", f"None runs; the next command starts one.{stale}")
    text = f"pid {running.pid}, version {running.version}, protocol {running.protocol}, {running.address}"
    if not discovery.answers(running.address):
        return fail("plane", f"{text}: nobody answers at its socket.", "agentlab daemon stop, then start; agents go on")
    if (running.version, running.protocol) != (__version__, PROTOCOL):
        return warn("plane", f"{text}; installed is {__version__}.", "agentlab daemon stop, then start; agents go on")
    return ok("plane", text)


# --- agents ------------------------------------------------------------------------------------------------


async def runtime_health(runtime: Runtime) -> Check:
    name = f"runtime {runtime.id}"
    ill = await runtime.health()
    return fail(name, ill) if ill else ok(name, f"{runtime.slots} slots on {runtime.host}.")


def program(cli: CLI) -> Check:
    name = f"program {cli.name}"
    if cli.verdict == "ok":
        return ok(name, f"{cli.version} at {cli.path}. {cli.reason}".strip())
    return warn(name, f"{cli.verdict}: {cli.reason}")


def login(cli: CLI) -> list[Check]:
    """How a program that is there would log in."""
    if cli.verdict != "ok" or cli.name not in logins.LOGINS:
        return []
    name = f"login {cli.name}"
    if where := logins.found(cli.name, os.environ, Path.home()):
        return [ok(name, f"There is {where}. Whether its vendor takes it is not asked.")]
    return [warn(name, "No key and no log-in of it was found.", logins.LOGINS[cli.name].advice)]


async def _profiles(home: Path) -> list[Check]:
    """A line for each agent with a name in config.toml."""
    try:
        return [profile(name, each) for name, each in load(home).agents.items()]
    except (BadRequest, OSError) as error:
        return [fail("profiles", str(error), "mend config.toml")]


def profile(name: str, wanted: Profile) -> Check:
    line = f"profile {name}"
    if not wanted.command:
        return ok(line, f"An agent of kind {wanted.kind}.")
    if found := shutil.which(wanted.command[0]):
        return ok(line, f"An agent of kind {wanted.kind}: {found}.")
    return warn(line, f"There is no program {wanted.command[0]!r} on PATH.", f"install it, or change [agents.{name}]")


def agents_extra() -> Check:
    """What agents of the Agent Client Protocol and programs in a terminal need."""
    name = "agents extra"
    if missing := [package for package in ("acp", "pyte") if find_spec(package) is None]:
        why = f"{' and '.join(missing)} cannot be imported: gemini, opencode, acp and cli agents fail."
        return warn(name, why, "pip install 'agentlab[agents]'")
    return ok(name, "It is installed.")


async def claude_extra() -> Check:
    """Imported for real, in a process of its own: it is large."""
    name = "claude extra"
    code = "from importlib.metadata import version; import claude_agent_sdk; print(version('claude-agent-sdk'))"
    answer = await ask([sys.executable, "-P", "-c", code], os.environ, 30.0)
    if answer.code == 0:
        return ok(name, f"claude-agent-sdk {answer.output.strip()}")
    last = answer.output.strip().splitlines()[-1:] or [answer.failed or "no answer within 30 s"]
    return warn(name, f"claude-agent-sdk cannot be imported: {last[0]}", "pip install -U 'agentlab[claude]'")


# --- the machine -------------------------------------------------------------------------------------------


def sandbox(home: Path) -> Check:
    """What holds for commands of agents that are spawned now, by the settings as they are by now and by what works here."""
    name = "sandbox"
    try:
        wanted = load(home).sandbox
        found, why = choose(wanted, home, home)
    except (Unavailable, BadRequest) as error:
        return fail(name, f"Agents fail: {error}", "change [sandbox] in config.toml, or make it work")
    if found is None:
        fix = "" if wanted.mode == "none" else "apt-get install bubblewrap, or a kernel >= 6.2 with Landlock"
        return warn(name, f"Commands of agents have none: {why}", fix or 'mode = "auto" in config.toml')
    network = "" if wanted.reaches == "all" else " They have no network."
    said = f"{found.name}: commands of agents write only what they declare.{network}"
    if wanted.reaches == "model" and not found.doors:
        no = " Agents with boundary native fail: it cannot let their programs reach their models and nothing else."
        return warn(name, said + no, "apt-get install bubblewrap")
    own = {"all": "", "model": ", and reach only their models", "none": "; those that need a model fail"}[
        wanted.reaches
    ]
    return ok(name, f"{said} Programs of agents with boundary native are in it, and write in the workspace{own}.")


def bubblewrap() -> Check:
    """Tried for real, as the runners of agents do."""
    name = "bubblewrap"
    try:
        return ok(name, f"{probe_bubblewrap()} works.")
    except Unavailable as error:
        fix = "apt-get install bubblewrap" if shutil.which("bwrap") is None else "allow unprivileged user namespaces"
        return warn(name, str(error), fix)


def landlock(home: Path) -> Check:
    """Tried for real, with the network cut if the settings say so."""
    name = "Landlock"
    try:
        version = probe_landlock(network=load(home).sandbox.reaches == "all")
    except Unavailable as error:
        return warn(name, str(error), "boot a kernel >= 6.2 with lsm=...,landlock, or install bubblewrap")
    lacks = (
        "" if version >= _LANDLOCK_SIGNALS else " Commands can signal programs outside; a kernel >= 6.12 prevents it."
    )
    return ok(name, f"Version {version} works, where there is no bubblewrap.{lacks}")


def cgroup(proc: Path = Path("/proc/self")) -> Check:
    name, fix = (
        "cgroup v2",
        "Start it in a delegated unit: `systemd-run --user --scope -p Delegate=yes agentlab daemon start`.",
    )
    mounts = (line.split() for line in (proc / "mountinfo").read_text().splitlines())
    mount = next((Path(fields[4]) for fields in mounts if fields[fields.index("-") + 1] == "cgroup2"), None)
    own = next((line[3:] for line in (proc / "cgroup").read_text().splitlines() if line.startswith("0::")), None)
    if mount is None or own is None:
        return warn(name, "There is none: process trees are followed by their marks only.", "Boot with cgroup v2.")
    folder = mount / own.lstrip("/")
    if not os.access(folder, os.W_OK):
        return warn(name, f"{folder} cannot be written: process trees are followed by their marks only.", fix)
    return ok(name, f"{folder} can be written.")


def kubernetes() -> Check:
    """Nothing here runs there yet: that is said, and what would be used."""
    name = "Kubernetes"
    config = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    inside = "KUBERNETES_SERVICE_HOST" in os.environ
    where = "this is a pod" if inside else f"{config} is there" if Path(config).is_file() else ""
    return ok(name, f"No runtime of agentlab runs there yet{f'; {where}' if where else ''}.")


def docker() -> Check:
    name, fix = "Docker", "Only agents in containers need it. Start Docker, and add yourself to its group."
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if not address.startswith("unix://"):
        return ok(name, f"DOCKER_HOST is {address}: not asked, it may be elsewhere.")
    path = address.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            client.connect(path)
            client.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            status = client.recv(64).decode(errors="replace").split("\r\n")[0]
    except OSError as error:
        return warn(name, f"{path}: {error.strerror or error}.", fix)
    return ok(name, f"{path} answers.") if " 200" in status else warn(name, f"{path} answers {status!r}.", fix)
