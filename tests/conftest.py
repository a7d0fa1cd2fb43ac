"""For all tests: with CI=true nothing real may be left out, so what would be skipped there fails, by name and with its reason.

What drives a real browser, real agents or a whole stack of processes is tried a second time where it fails on a busy machine;
the summary names it (RERUN), with the first failure. The core, the store and all else that is only ours have one try.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from agentlab import processes

HERE = Path(__file__).parent
MARK = "TESTS_OF"  # a variable that all processes of this session inherit
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as shells leave it in what they start with &, for all its children
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = ("agentlab.plane", "--spare", "jupyter", "ipykernel", "chrom")  # may serve the next test: ended at the end
OUTSIDE = ("browser", "drivers", "notebook", "packaging", "serverextension", "stack")


SECONDS = {
    "browser": 8.0, "drivers": 2.0, "labextension": 1.0, "notebook": 2.0, "packaging": 6.0, "serverextension": 1.5, "stack": 4.0,
}  # fmt: skip
"""About what one test of a room takes, where it is more than a moment: said by the room, not by the file, so that nobody has to
keep it true. What is longer by itself says so: `slow`."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _room(item) in OUTSIDE:
            item.add_marker(pytest.mark.flaky(reruns=1))
    if hasattr(config, "workerinput"):  # of xdist
        _longest_first(items)


def _longest_first(items: list[pytest.Item]) -> None:
    """What takes long is begun first and moments are left for the end, so that all workers end together."""
    whole: Counter[str] = Counter()
    for item in items:
        whole[_together(item)] += _seconds(item)
    items.sort(key=lambda item: (-whole[_together(item)], _together(item)))


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]


def _together(item: pytest.Item) -> str:
    """The class or the file that one worker does, as `--dist loadscope` has it."""
    return item.nodeid.rpartition("::")[0]


def _seconds(item: pytest.Item) -> float:
    slow = item.get_closest_marker("slow")
    return float(slow.args[0]) if slow else SECONDS.get(_room(item), 0.1)


@pytest.fixture(scope="session")
def session_mark() -> Iterator[str]:
    """The value of MARK. At the end nothing that was started with it is left, whoever started it."""
    mark = os.environ[MARK] = uuid.uuid4().hex
    yield mark
    _ended(mark, set())


@pytest.fixture(autouse=True)
def no_orphans(session_mark: str) -> Iterator[None]:
    """A test leaves none of the processes behind that it started, but those that serve the next one."""
    last = _last_pid()
    before = set(processes.marked(session_mark, MARK))
    yield
    if _last_pid() != last:
        _ended(session_mark, before, SHARED)


def _last_pid() -> str:
    """Changes whenever anybody starts a process: looking through all of them is for tests during which it did."""
    return Path("/proc/loadavg").read_text().split()[-1]


def _ended(mark: str, before: set[int], shared: Sequence[str] = ()) -> None:
    deadline = time.monotonic() + 30.0
    while left := _left(mark, before, shared):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def _left(mark: str, before: set[int], shared: Sequence[str]) -> dict[int, str]:
    found = {pid: _command(pid) for pid in processes.marked(mark, MARK) if pid not in before}
    return {pid: words for pid, words in found.items() if words and not any(name in words for name in shared)}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} may not be skipped with CI=true: {call.excinfo.value if call.excinfo else ''}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What passed only the second time says why it failed the first: that is a defect, of the test or of what it tests."""
    again = terminalreporter.stats.get("rerun", [])
    if again:
        terminalreporter.section("failed at the first try")
    for report in again:
        terminalreporter.write_line(f"{report.nodeid}: {report.longrepr}")
