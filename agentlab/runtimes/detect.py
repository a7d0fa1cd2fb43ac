"""Which agent programs are on this machine, which version, and what to do where one will not serve."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from agentlab import processes
from agentlab.config import CLIProfile
from agentlab.core.commands import CLI

LIMIT = 10.0  # s for `--version`; gemini's takes 1.5 s on a quiet machine


@dataclass(frozen=True)
class Program:
    """What to look for. minimum: the least version that will do; install: the command that brings or renews it."""

    name: str
    command: str
    minimum: str | None = None
    install: str = ""
    version_args: tuple[str, ...] = ("--version",)


KNOWN = (
    Program("claude", "claude", "2.0.0", "pip install -U 'agentlab[claude]'"),
    Program("codex", "codex", "0.100.0", "npm install -g @openai/codex"),
    Program("gemini", "gemini", "0.30.0", "npm install -g @google/gemini-cli"),
    Program("opencode", "opencode", "1.0.0", "npm install -g opencode-ai"),
)

_BESIDE_PATH = (".local/bin", ".npm-global/bin", ".claude/local", ".opencode/bin", ".bun/bin", ".volta/bin", "bin")
"""Where their installers put them, under the user's home: a Jupyter server's PATH is often shorter than a shell's."""

_VERSION = re.compile(r"(?<![\w.])v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z][0-9A-Za-z.-]*)?)(?![\w.]*\.\d)")


# --- pure --------------------------------------------------------------------------------------------------


def programs(profiles: Mapping[str, CLIProfile]) -> tuple[Program, ...]:
    """The known ones and those of the configuration, which may also replace a known one."""
    known = {program.name: program for program in KNOWN}
    own = {
        name: Program(
            name,
            profile.command,
            profile.minimum,
            known[name].install if name in known else "",
            profile.version_args,
        )
        for name, profile in profiles.items()
    }
    return tuple((known | own).values())


def parse_version(text: str) -> str | None:
    """The first x.y.z in what a program says of itself, a pre-release suffix included; banners may come before it."""
    found = _VERSION.search(text)
    return found[1] if found else None


def older(version: str, minimum: str) -> bool:
    """By the three numbers; a pre-release counts as its release."""
    return _numbers(version) < _numbers(minimum)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def search_path(environ: Mapping[str, str]) -> list[Path]:
    """The folders to look in: PATH, then the usual places that are not on it."""
    listed = [Path(entry) for entry in environ.get("PATH", os.defpath).split(os.pathsep) if entry.startswith("/")]
    home = environ.get("HOME", "")
    beside = [Path(home) / entry for entry in _BESIDE_PATH] if home.startswith("/") else []
    return list(dict.fromkeys([*listed, *beside]))


@dataclass(frozen=True)
class Answer:
    """What came of asking a program for its version. code None: it did not end in time; failed: it did not begin."""

    code: int | None = None
    output: str = ""
    failed: str = ""


def judge(program: Program, path: str, answer: Answer, *, note: str = "") -> CLI:
    """The verdict on an executable that was asked."""
    asked = f"`{path} {' '.join(program.version_args)}`"
    version = parse_version(answer.output) if answer.code == 0 else None

    def verdict(word: str, reason: str) -> CLI:
        return CLI(name=program.name, verdict=word, path=path, version=version, reason=reason)

    if answer.failed:
        return verdict("not executable", f"It cannot be started: {answer.failed}.{_repair(program)}")
    if answer.code is None:
        return verdict("unknown version", f"{asked} did not end within {LIMIT:g} s.{_repair(program)}")
    if answer.code != 0:
        return verdict("unknown version", f"{asked} failed ({_how(answer)}).{_repair(program)}")
    if version is None:
        return verdict("unknown version", f"{asked} names no version ({_first_line(answer.output)}).{_repair(program)}")
    if program.minimum and older(version, program.minimum):
        return verdict("too old", f"{version} is older than {program.minimum}.{_repair(program, 'Update it')}")
    return verdict("ok", note)


def _how(answer: Answer) -> str:
    code = answer.code or 0
    end = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{end}: {_first_line(answer.output)}" if answer.output.strip() else end


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return repr(line[:120]) if line else "it said nothing"


def _repair(program: Program, verb: str = "Reinstall it") -> str:
    if program.install:
        return f" {verb}: `{program.install}`."
    return f" Look at [clis.{program.name}] of config.toml."


# --- on this machine ---------------------------------------------------------------------------------------


class Detector:
    """Looks, and remembers what an unchanged file said of itself."""

    def __init__(self, profiles: Mapping[str, CLIProfile], *, limit: float = LIMIT) -> None:
        self._programs = programs(profiles)
        self._limit = limit
        self._known: dict[tuple[str, int, int, int], CLI] = {}

    async def detect(self, environ: Mapping[str, str] | None = None) -> tuple[CLI, ...]:
        """All programs, in the order of the list, asked at the same time."""
        environ = os.environ if environ is None else environ
        folders = search_path(environ)
        return tuple(await asyncio.gather(*(self._one(program, folders, environ) for program in self._programs)))

    async def _one(self, program: Program, folders: Sequence[Path], environ: Mapping[str, str]) -> CLI:
        path, note = find(program, folders)
        if path is None:
            return CLI(name=program.name, verdict="missing", reason=_missing(program))
        if not os.access(path, os.X_OK):
            reason = f"The file is not executable for you.{_repair(program)} Or: `chmod +x {path}`."
            return CLI(name=program.name, verdict="not executable", path=str(path), reason=reason)
        try:
            found = path.stat()
        except OSError as error:
            return judge(program, str(path), Answer(failed=error.strerror or str(error)))
        key = (str(path), found.st_mtime_ns, found.st_ctime_ns, found.st_size)  # npm sets every mtime to 1985
        if key in self._known:
            return replace(self._known[key], reason=note)
        answer = await ask([str(path), *program.version_args], environ, self._limit)
        verdict = judge(program, str(path), answer, note=note)
        if verdict.verdict == "ok":
            self._known[key] = verdict
        return verdict


def find(program: Program, folders: Sequence[Path]) -> tuple[Path | None, str]:
    """Where a program is, and what is to be said of that. An executable one wins over a file that is not."""
    sdk = importlib.util.find_spec("claude_agent_sdk") if program == KNOWN[0] else None
    if sdk is not None:
        for folder in sdk.submodule_search_locations or ():
            if (bundled := Path(folder) / "_bundled" / program.command).is_file():
                return bundled, "Bundled with claude-agent-sdk."
    named = Path(program.command).expanduser()
    candidates = [named] if "/" in program.command else [folder / named for folder in folders]
    files = [path for path in candidates if path.is_file()]
    runnable = [path for path in files if os.access(path, os.X_OK)]
    path = next(iter(runnable or files), None)
    if path is not None and program == KNOWN[0] and sdk is None:
        return path, f"Agents of kind claude need the SDK as well: `{program.install}`."
    return path, ""


def _missing(program: Program) -> str:
    where = "There is no such file" if "/" in program.command else "Not found on PATH"
    hint = f" Install it: `{program.install}`." if program.install else _repair(program)
    return f"{where}: {program.command}.{hint}"


async def ask(argv: Sequence[str], environ: Mapping[str, str], limit: float = LIMIT) -> Answer:
    """Run it, with nothing to read and in a session of its own, which is killed in the end.

    Its output stays in the pipes until then: the 64 KiB that fit are enough to find a version in.
    """
    env = {**environ, "NO_COLOR": "1", "DISABLE_AUTOUPDATER": "1"}
    with _pipe() as (out, out_end), _pipe() as (err, err_end):
        try:
            process = _begin(argv, env, out_end, err_end)
        except OSError as error:
            return Answer(failed=error.strerror or str(error))
        handle = os.pidfd_open(process.pid)
        in_time = False
        try:
            async with asyncio.timeout(limit):
                await processes.readable(handle)
            in_time = True
        except TimeoutError:
            pass
        finally:
            os.close(handle)
            os.killpg(process.pid, signal.SIGKILL)  # before it is reaped: the group is still its own
            code = process.wait()
        return Answer(code=code if in_time else None, output=f"{_drain(out)}\n{_drain(err)}")


def _begin(argv: Sequence[str], env: Mapping[str, str], out: int, err: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True, cwd="/", env=env
    )


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    out, end = os.pipe()
    os.set_blocking(out, False)
    try:
        yield out, end
    finally:
        os.close(out)
        os.close(end)


def _drain(out: int) -> str:
    try:
        return os.read(out, 64 * 1024).decode(errors="replace")
    except BlockingIOError:
        return ""
