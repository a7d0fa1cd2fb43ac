"""Whether a rule has something against a call of one of our own tools. Without rules they are guarded by locks alone."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from agentlab.core import policy, risk
from agentlab.core.events import JSON, AgentSpec
from agentlab.core.families import means
from agentlab.core.policy import Act, Decision, Layers, Rule
from agentlab.errors import Refused
from agentlab.runner.gate import Gate, Permission

FREE: Final = frozenset({"ask", "say", "plan", "todo", "release", "output", "stop"})
"""They change nothing that a rule could be about."""

LOOKS: Final = ("read", "search")
"""As calls of which a look at files counts."""

SHOWN = 200  # characters of an argument in a question


class Permit:
    """home: the rules of the person's `config.toml`. workspace: those of the `agentlab.toml`. named: a unit in its one spelling; what is none, as it is. processes: the
    units that a command, given as `argv` or as `command`, takes by its pattern."""

    def __init__(
        self,
        gate: Gate,
        spec: AgentSpec,
        root: str,
        *,
        home: tuple[Rule, ...],
        workspace: tuple[Rule, ...],
        named: Callable[[str], str],
        processes: Callable[[Any, Any], tuple[str, ...]],
    ) -> None:
        self._gate, self._root, self._named, self._processes = gate, root, named, processes
        self.workspace = workspace
        spec_rules = tuple(policy.parse(text) for text in spec.permissions)
        self._layers = Layers(spec=spec_rules, home=home, workspace=workspace)
        self._agent = spec.name or gate.owner.rpartition("/")[2].partition("#")[0]
        self._any = bool(spec_rules or home or workspace)

    async def check(self, tool: str, args: Mapping[str, JSON], preview: Callable[[], Awaitable[str]]) -> None:
        """Return when the call may be done. Raises Refused: a rule or a person is against it, with the reason. preview: the
        difference that it would make, for whoever is asked."""
        if not self._any or tool in FREE:
            return
        await self._check(tool, self.units(tool, args), args, preview)

    async def check_search(self, args: Mapping[str, JSON], *, folder: bool) -> Callable[[str], Rule | None] | None:
        """A search reads, so what is said of `read` as such counts for it, and is asked once. In a folder, the rules that are about
        certain files leave those out: what tells the rule that is against a file, by its name; None: there is no rule at all.
        Raises as `check`."""
        if not self._any:
            return None
        searched = self.units("search", args)
        units = searched if folder else tuple(f"file:{unit.partition(':')[2]}" for unit in searched)
        asked = {self._decide("search", searched, args).rule}
        for tool in ("read", "search"):
            if (rule := self._decide(tool, units, args).rule) not in asked:
                asked.add(rule)
                await self._check(tool, units, args)
        return self._against

    def against_look(self, tools: Sequence[str], units: Sequence[str], input: JSON, *, wide: bool) -> bool:
        """Whether a rule has something against what the agent's own program would look at, as a call of one of these tools. wide:
        nobody knows at which files, so a rule for any of them counts."""
        if not self._any:
            return False
        named, given = tuple(self._named(unit) for unit in units), input if isinstance(input, dict) else {}
        decided = [self._decide(tool, named, given) for tool in tools]
        if any(decision.rule is not None and decision.action != "approve" for decision in decided):
            return True
        rules = (*self._layers.spec, *self._layers.home, *self._layers.workspace)
        return wide and any(
            rule.action != "approve"
            and rule.unit != "*"
            and any(means(rule.tool, tool, covers=False) for tool in LOOKS)
            for rule in rules
        )

    def _against(self, name: str) -> Rule | None:
        for tool in ("read", "search"):
            decision = self._decide(tool, (f"file:{name}",), {"path": name})
            if decision.rule is not None and decision.action != "approve" and decision.rule.unit != "*":
                return decision.rule
        return None

    def _decide(self, tool: str, units: tuple[str, ...], input: Mapping[str, JSON]) -> Decision:
        level, _ = risk.assess(tool, units, dict(input))
        act = Act(agent=self._agent, tool=tool, units=units, input=dict(input), workspace=self._root, risk=level)
        return policy.decide(act, self._layers)

    async def _check(
        self,
        tool: str,
        units: tuple[str, ...],
        args: Mapping[str, JSON],
        preview: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        decision, input = self._decide(tool, units, args), dict(args)
        if decision.rule is None or decision.action == "approve":
            return
        diff = await preview() or None if preview and decision.action != "reject" else None
        request = Permission(question=_question(tool, units, args), tool=tool, units=units, input=input, diff=diff)
        verdict = await self._gate.approve(request, self.workspace)
        if not verdict.allowed:
            raise Refused(
                f"{tool} was not allowed ({verdict.answer} by {verdict.by or 'nobody'}"
                f"{f': {verdict.reason}' if verdict.reason else ''}). Nothing was done. Do without it, or do something else.",
                tool=tool,
                by=verdict.by,
            )

    def units(self, tool: str, args: Mapping[str, JSON]) -> tuple[str, ...]:
        """The work units that a call names, or takes without naming them. Raises BadRequest: its command makes no sense."""
        paths = [args[key] for key in ("path", "to") if isinstance(args.get(key), str)]
        kind = "dir" if tool in ("list", "search", "glob", "grep") else "file"
        found = [f"{kind}:{path}" for path in paths]
        for key in ("units", "writes"):
            found += [unit if ":" in unit else f"file:{unit}" for unit in _texts(args.get(key))]
        found += _texts([args.get("unit")])
        if tool == "run" and not args.get("unit"):
            found += self._processes(args.get("argv"), args.get("command"))
        return tuple(dict.fromkeys(self._named(unit) for unit in found))


def _texts(value: JSON) -> Sequence[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list | tuple) else []


def _question(tool: str, units: Sequence[str], args: Mapping[str, JSON]) -> str:
    argv = args.get("argv") or args.get("command")
    what = shlex.join(_texts(argv)) if isinstance(argv, list | tuple) else str(argv) if argv else ", ".join(units)
    more = f" [... {len(what) - SHOWN} characters more]" if len(what) > SHOWN else ""
    return f"May it {tool} {what[:SHOWN]}{more}?" if what else f"May it use {tool}?"
