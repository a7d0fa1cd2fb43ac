"""The tools as models see them: few words, and each says when it is for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agentlab.runner.tools import aliases, catalogue

SPECS = {name: catalogue.spec_of(name) for name in catalogue.TOOLS}

each_tool = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def nodes(schema: Any) -> list[dict[str, Any]]:
    """The schema and all that is in it."""
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return [*([schema] if isinstance(schema, dict) else []), *(node for each in inner for node in nodes(each))]


def test_all_of_it_takes_little_of_a_context_window() -> None:
    offered = [{"name": s.name, "description": s.description, "inputSchema": s.schema} for s in SPECS.values()]
    assert len(msgspec.json.encode(offered)) < 12_000


@each_tool
def test_a_schema_stands_by_itself_and_says_nothing_that_goes_without_saying(spec: catalogue.ToolSpec) -> None:
    for node in nodes(spec.schema):
        assert not node.keys() & {"$ref", "$defs", "title"}
        assert node.get("additionalProperties") is not False
        assert node.get("default", "") not in (None, False, [])
    assert spec.schema["type"] == "object"
    assert set(spec.schema["properties"]) == set(catalogue.TOOLS[spec.name].__struct_fields__)


@each_tool
def test_what_a_schema_asks_for_is_enough(spec: catalogue.ToolSpec) -> None:
    def value(schema: dict[str, Any]) -> Any:
        if "anyOf" in schema:
            return value(schema["anyOf"][0])
        if "enum" in schema:
            return schema["enum"][0]
        match schema["type"]:
            case "array":
                return [value(schema["items"])]
            case "object":
                return {name: value(schema["properties"][name]) for name in schema.get("required", [])}
            case kind:
                return {"string": "x", "integer": 1, "number": 1.0, "boolean": True}[kind]

    first = next(iter(spec.schema["properties"]))
    catalogue.check(spec.name, value(spec.schema) or {first: value(spec.schema["properties"][first])})


@each_tool
def test_a_description_is_short_and_begins_with_what_the_tool_does(spec: catalogue.ToolSpec) -> None:
    assert 20 < len(spec.description) < 500
    assert spec.description[0].isupper()
    assert spec.description.endswith(".")


def test_hints_do_not_contradict_each_other() -> None:
    for spec in SPECS.values():
        assert not (spec.read_only and spec.destructive)
        assert not (spec.read_only and spec.open_world)
    known = set(catalogue.TOOLS)
    assert known >= catalogue.READ_ONLY | catalogue.HARMLESS | catalogue.IDEMPOTENT | catalogue.OPEN_WORLD


def test_no_other_name_of_a_tool_is_one_of_ours() -> None:
    assert not set(aliases.NAMES) & set(catalogue.TOOLS)
