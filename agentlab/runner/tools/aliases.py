"""Other spellings of our tools: names and arguments that models know from their vendors' own programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from agentlab.core.events import JSON

NAMES: dict[str, str] = {
    "Read": "read",
    "read_file": "read",
    "Write": "write",
    "write_file": "write",
    "Edit": "edit",
    "replace": "edit",
    "Bash": "run",
    "bash": "run",
    "shell": "run",
    "exec_command": "run",
    "run_shell_command": "run",
    "BashOutput": "output",
    "KillShell": "stop",
    "KillBash": "stop",
    "TodoWrite": "todo",
    "todowrite": "todo",
    "write_todos": "todo",
    "MultiEdit": "multi_edit",
    "multiedit": "multi_edit",
    "Glob": "glob",
    "LS": "list",
    "list_directory": "list",
    "Grep": "search",
    "grep": "search",
    "grep_search": "search",
    "search_file_content": "search",
}
"""Tools of Claude Code, Gemini and opencode, by the one of ours that does the same."""

_PATH = {"file_path": "path", "filePath": "path", "absolute_path": "path"}
_DIRECTORY = {"dir_path": "path"}
_REPLACEMENT = {
    "old_string": "old",
    "oldString": "old",
    "new_string": "new",
    "newString": "new",
    "replace_all": "all",
    "replaceAll": "all",
}

_ITEM = {"content": "text", "description": "text"}
_STATUS: dict[JSON, JSON] = {"completed": "done", "cancelled": "done"}

DROPPED: dict[str, frozenset[str]] = {
    "run": frozenset({"description"}),
    "edit": frozenset({"instruction"}),
    "search": frozenset({"-n"}),
}
"""What only the vendor's own program has a use for."""

ARGUMENTS: dict[str, dict[str, str]] = {
    "read": _PATH,
    "write": {**_PATH, "content": "data"},
    "edit": {**_PATH, **_REPLACEMENT},
    "multi_edit": _PATH,
    "delete": _PATH,
    "run": {
        **dict.fromkeys(("dir_path", "directory", "workdir"), "cwd"),
        **dict.fromkeys(("run_in_background", "is_background"), "background"),
        "cmd": "command",
    },
    "output": {"bash_id": "id", "shell_id": "id"},
    "stop": {"bash_id": "id", "shell_id": "id"},
    "todo": {"todos": "items"},
    "list": _DIRECTORY,
    "glob": _DIRECTORY,
    "search": {
        **_DIRECTORY,
        "pattern": "regex",
        "include": "glob",
        "output_mode": "mode",
        "head_limit": "limit",
        "-i": "ignore_case",
        "-C": "context",
    },
}


def ours(name: str, args: Mapping[str, JSON]) -> tuple[str, dict[str, JSON]]:
    """A call in our own words. What is unknown, or given in both spellings, stays as it is and is refused later."""
    given, name = name, NAMES.get(name, name)
    if given != name:
        args = {key: value for key, value in args.items() if key not in DROPPED.get(name, ())}
    out = _renamed(args, ARGUMENTS.get(name, {}))
    match name:
        case "read":
            return name, _lines(out)
        case "search" if out.get("mode") == "files_with_matches":
            return name, {**out, "mode": "files"}
        case "run":
            return name, _command(out, in_milliseconds=given in ("Bash", "bash"))
        case "todo":
            return name, _todo(_each(out, "items", _ITEM))
        case "multi_edit":
            return name, _each(out, "edits", _REPLACEMENT)
        case _:
            return name, out


def _renamed(args: Mapping[str, JSON], table: Mapping[str, str]) -> dict[str, JSON]:
    out: dict[str, JSON] = {}
    for key, value in args.items():
        known = table.get(key, key)
        out[key if known in out or (known != key and known in args) else known] = value
    return out


def _each(args: dict[str, JSON], key: str, table: Mapping[str, str]) -> dict[str, JSON]:
    """The objects in a list of them renamed, where it is one."""
    items = args.get(key)
    if not isinstance(items, list | tuple):
        return args
    return {**args, key: [_renamed(item, table) if isinstance(item, Mapping) else item for item in items]}


def _command(args: dict[str, JSON], *, in_milliseconds: bool) -> dict[str, JSON]:
    """A list as command is an argv; a timeout of theirs is in ms."""
    if isinstance(args.get("command"), list | tuple) and "argv" not in args:
        args["argv"] = args.pop("command")
    timeout = args.get("timeout")
    if in_milliseconds and isinstance(timeout, int | float) and not isinstance(timeout, bool):
        args["timeout"] = timeout / 1000
    return args


def _todo(args: dict[str, JSON]) -> dict[str, JSON]:
    items = args.get("items")
    if not isinstance(items, list | tuple):
        return args
    return {**args, "items": [_item(item) if isinstance(item, Mapping) else item for item in items]}


def _item(item: Mapping[str, JSON]) -> dict[str, JSON]:
    known = {key: value for key, value in item.items() if key not in ("activeForm", "priority", "id")}
    status = known.get("status")
    return known | ({"status": _STATUS[status]} if isinstance(status, str) and status in _STATUS else {})


def _lines(args: dict[str, JSON]) -> dict[str, JSON]:
    """offset (first line, from 1) and limit (how many) as start and end."""
    offset, limit = args.get("offset"), args.get("limit")
    given = [value for value in (offset, limit) if value is not None]
    if not given or "start" in args or "end" in args:
        return args
    if any(not isinstance(value, int) or isinstance(value, bool) for value in given) or limit == 0:
        return args
    rest = {key: value for key, value in args.items() if key not in ("offset", "limit")}
    start = max(offset, 1) if isinstance(offset, int) else 1
    return {**rest, "start": start} | ({"end": start + limit - 1} if isinstance(limit, int) else {})
