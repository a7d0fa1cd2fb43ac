"""For all tests: with CI=true nothing real may be left out, so what would be skipped there fails, by name and with its reason.

What drives a real browser, real agents or a whole stack of processes is tried a second time where it fails on a busy machine;
the summary names it (RERUN), with the first failure. The core, the store and all else that is only ours have one try.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OUTSIDE = ("browser", "drivers", "notebook", "packaging", "serverextension", "stack")


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(HERE).parts[0] in OUTSIDE:
            item.add_marker(pytest.mark.flaky(reruns=1))


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
