"""Events in the log: every type survives it, and `dhash` is of exactly what must be equal when a run is done again."""

from __future__ import annotations

import types
import typing
from typing import Any

import msgspec
import pytest

from agentlab.core import events as e
from agentlab.core.digest import VERSION, dhash, fields_of, projection
from agentlab.core.events import (
    AgentSpec,
    Blocker,
    Body,
    Event,
    Mode,
    Priority,
    Raw,
    Standing,
    decode_payload,
    encode_payload,
)

BODIES: list[type[Body]] = list(typing.get_args(e.AnyBody))

NAMES = {body: body.type() for body in BODIES}

VALUES: dict[Any, tuple[Any, Any]] = {
    str: ("one", "zwei ☃"),
    int: (3, 4),
    float: (1.5, 2.5),
    bool: (True, False),
    Any: ({"a": [1, None, "é"]}, ["b", {"c": 2.5}]),
    Mode: (Mode.SHARED, Mode.EXCLUSIVE),
    Priority: (Priority.OPERATOR, Priority.BACKGROUND),
    AgentSpec: (AgentSpec(kind="script", task=[{"say": "hi"}]), AgentSpec(kind="python", env={"A": "env:B"})),
    Standing: (Standing("file:x", "r/a", Mode.SHARED), Standing("file:y", "r/b", Mode.EXCLUSIVE, waits=True)),
    Blocker: (Blocker(owner="r/a", unit="file:x", ticket=1), Blocker(owner="r/b", unit="file:y", ticket=2, waits=True)),
}


def value(type_: Any, which: int) -> Any:
    """One of two different values of a field's type."""
    if type_ in VALUES:
        return VALUES[type_][which]
    origin, args = typing.get_origin(type_), typing.get_args(type_)
    if origin is tuple:
        return (value(args[0], which), value(args[0], 0))
    if origin is dict:
        return {"key": value(args[1], which)}
    if origin in (typing.Union, types.UnionType):
        return value(next(arg for arg in args if arg is not type(None)), which)
    raise AssertionError(f"no value for {type_}")


def fields(struct: Any) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(struct)}


def full(body: type[Body]) -> Any:
    return body(**{name: value(type_, 0) for name, type_ in fields(body).items()})


def least(body: type[Body]) -> Any:
    required = {field.name for field in msgspec.structs.fields(body) if field.required}
    return body(**{name: value(type_, 0) for name, type_ in fields(body).items() if name in required})


def event(body: Any, **columns: Any) -> Event:
    return Event(**{"id": 7, "run_id": "r", "seq": 3, "ts": 11, "actor": "a", "body": body, **columns})


# --- the payload -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", BODIES, ids=NAMES.get)
@pytest.mark.parametrize("make", [full, least], ids=["full", "least"])
def test_every_body_survives_the_log(body: type[Body], make: Any) -> None:
    made = make(body)
    assert decode_payload(encode_payload(made), body.type()) == made
    assert decode_payload(encode_payload(made).decode()) == made


@pytest.mark.parametrize("body", BODIES, ids=NAMES.get)
def test_the_type_stands_in_the_payload_as_in_the_column(body: type[Body]) -> None:
    assert msgspec.json.decode(encode_payload(full(body)))["type"] == body.type() == event(full(body)).type


def test_no_two_bodies_share_a_type() -> None:
    assert len(set(NAMES.values())) == len(BODIES)


def test_a_type_of_a_newer_version_stays_readable() -> None:
    payload = b'{"type":"mind.read","thought":"\xc3\xa9"}'
    body = decode_payload(payload, "mind.read")
    assert body == Raw(line='{"type":"mind.read","thought":"é"}', source="mind.read")
    assert decode_payload(encode_payload(body)) == body


def test_a_field_of_a_newer_version_is_passed_over() -> None:
    assert decode_payload(b'{"type":"file.read","path":"x","hash":null,"mood":3}') == e.FileRead(path="x", hash=None)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"type":"file.read"}',
        b'{"type":"lock.grant","ticket":1,"owner":"a","units":["file:x"],"mode":"Q","token":1}',
        b'{"path":"x"}',
        b"[1]",
    ],
)
def test_a_body_that_does_not_fit_is_kept_as_it_is(payload: bytes) -> None:
    assert decode_payload(payload, "odd") == Raw(line=payload.decode(), source="odd")


def test_a_raw_event_does_no_harm_in_the_fold() -> None:
    from world import folded

    state = folded([event(Raw(line="?"), id=1), event(Raw(line="?", source="mind.read"), id=2)])
    assert state.position == 2


# --- dhash -----------------------------------------------------------------------------------------------------


def changed(body: type[Body], field: str) -> tuple[str, str]:
    """The dhashes of two events that differ in one field of the body."""
    one = full(body)
    other = msgspec.structs.replace(one, **{field: value(fields(body)[field], 1)})
    assert one != other
    return dhash(event(one)), dhash(event(other))


@pytest.mark.parametrize(("body", "field"), [(b, f) for b in BODIES for f in fields(b)], ids=str)
def test_a_field_counts_unless_its_body_names_it_as_free(body: type[Body], field: str) -> None:
    one, other = changed(body, field)
    assert (one == other) == (field in body.NONDET)


@pytest.mark.parametrize("body", BODIES, ids=NAMES.get)
def test_a_body_frees_only_fields_that_it_has(body: type[Body]) -> None:
    assert set(fields(body)) >= body.NONDET
    assert set(fields_of(body)) == set(fields(body)) - body.NONDET


@pytest.mark.parametrize("column", [name for name in fields(Event) if name != "body"])
def test_of_the_columns_only_actor_name_unit_and_status_count(column: str) -> None:
    body = e.FileRead(path="x", hash=None)
    one, other = (event(body, **{column: value(fields(Event)[column], which)}) for which in (0, 1))
    assert one != other
    assert (dhash(one) != dhash(other)) == (column in {"actor", "name", "unit", "status"})


def test_two_types_with_equal_fields_differ() -> None:
    assert dhash(event(e.RunBegin())) != dhash(event(e.RunEnd()))


def test_an_agent_is_named_within_its_run() -> None:
    def granted(run: str, owner: str) -> str:
        body = e.LockGrant(ticket=1, owner=owner, units=("file:x",), mode=Mode.EXCLUSIVE, token=1)
        return dhash(event(body, run_id=run))

    assert granted("one", "one/a") == granted("two", "two/a")
    assert granted("one", "one/a") != granted("one", "one/b")
    assert granted("one", "two/a") != granted("two", "two/a")


def test_the_order_of_keys_in_what_agents_say_does_not_count() -> None:
    def called(args: dict[str, int]) -> str:
        return dhash(event(e.ToolCall(call="1", args=args)))

    assert called({"a": 1, "b": 2}) == called({"b": 2, "a": 1})
    assert called({"a": 1}) != called({"a": 2})


def test_a_dhash_is_short_hex_and_says_its_version_in_what_it_hashes() -> None:
    made = event(e.RunBegin())
    assert len(dhash(made)) == 16
    assert int(dhash(made), 16) >= 0
    assert projection(made)[0] == VERSION


def test_the_dhash_of_today_is_that_of_yesterday() -> None:
    """A change here changes what old logs are compared with: raise VERSION, and say so."""
    body = e.FileWrite(path="a.txt", before=None, after="00", size=1, token=9)
    assert dhash(event(body, name="write", unit="file:a.txt", status="ok")) == "0ee018c4410e8982"


def test_a_stored_event_has_the_dhash_that_it_had() -> None:
    for body in map(full, BODIES):
        again = decode_payload(encode_payload(body))
        assert dhash(event(again)) == dhash(event(body))
