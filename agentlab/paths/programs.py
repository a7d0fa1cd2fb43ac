"""Programs that we start ourselves, with the user's rights: never one that an agent may have put there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def program_outside(name: str, root: Path, path: str | None = None) -> str | None:
    """As `shutil.which`, but for what lies in this folder, also by a link. Where PATH names a relative place, that is left out."""
    named = os.environ.get("PATH", os.defpath) if path is None else path
    folders = [each for each in named.split(os.pathsep) if each.startswith("/") and not _is_in(each, root)]
    found = shutil.which(name, path=os.pathsep.join(folders))
    return None if found is None or _is_in(found, root) else found


def _is_in(path: str, root: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
