"""The JupyterLab extension: its own tests (`labextension/tests`), its types, and that what is built is what JupyterLab loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentlab import __version__

ROOT = Path(__file__).parents[2]
FRONT = ROOT / "labextension"

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("labextension")]


def npm(script: str) -> str:
    """Run a script of labextension/, with Node and packages made ready by the project's own script."""
    done = subprocess.run(
        ["bash", "scripts/labextension.sh", script],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "VENV": sys.prefix, "NO_COLOR": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-8000:]
    return said


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if (FRONT / "node_modules").exists() or os.environ.get("CI") == "true":
        return
    if shutil.which("npm") is None:
        pytest.skip("no npm here; `make labextension` brings one and installs the packages")


def test_the_extension_has_the_version_of_the_package() -> None:
    for name in ("package.json", "package-lock.json"):
        assert json.loads((FRONT / name).read_text())["version"] == __version__, name


def test_the_types_of_source_and_tests_agree() -> None:
    npm("check")


def test_the_units_of_the_extension_pass() -> None:
    assert "passed" in npm("test")


def test_what_is_built_is_what_jupyterlab_loads() -> None:
    built = ROOT / "agentlab" / "labextension"
    if not built.exists() and os.environ.get("CI") != "true":
        pytest.skip("not built; `make labextension` does that")
    package = json.loads((built / "package.json").read_text())
    assert package["version"] == __version__
    assert (built / package["jupyterlab"]["_build"]["load"]).is_file()
    assert (built / "schemas" / "agentlab" / "plugin.json").is_file()
