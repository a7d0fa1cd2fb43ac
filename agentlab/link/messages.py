"""What crosses the link beside the core's commands. The handshake, waits, subscriptions, blobs.

A frame is a 4-byte big-endian length and a msgpack array; over a WebSocket it is one binary message without the length:

    [0, id, request]            request: a command of `core.commands` or a class of this module
    [1, id, reply]              reply: likewise
    [2, id, [code, text, data]] an error of `agentlab.errors`
    [3, id, push]               one more item for the subscription that request `id` opened

`id` is chosen by the client and unique on its connection. Replies may come in any order; commands are decided in
the order in which they were sent. The first request must be `Hello`.
"""

from __future__ import annotations

from msgspec import Struct

from agentlab.core.commands import AnyCommand, AnyReply, Granted
from agentlab.core.events import JSON, Blob, Event, Revocation

MAX_FRAME = 64 * 1024 * 1024 + 64 * 1024  # bytes: a blob of 64 MiB, and what goes around it


class Request(Struct, frozen=True, omit_defaults=True, kw_only=True, tag=True): ...


class Hello(Request, frozen=True, tag="hello"):
    token: str
    protocol: int
    version: str
    client: str = ""  # notebook, cli, python, runner, gateway: for people to read
    session_id: str = ""
    user: str = ""

    def __repr__(self) -> str:  # the token stays out of logs and tracebacks
        return f"Hello(client={self.client!r}, version={self.version!r}, protocol={self.protocol})"


class WaitTicket(Request, frozen=True, tag="wait_ticket"):
    """Answered by `Granted` when the ticket is granted, by `Queued` when `timeout` (s) has passed. NotFound: it is gone."""

    ticket: int
    timeout: float = 240.0


class WaitAgent(Request, frozen=True, tag="wait_agent"):
    """Answered by `View` of the agent's row when it has ended, or when `timeout` (s) has passed."""

    agent: str
    timeout: float = 3600.0


class Renew(Request, frozen=True, tag="renew"):
    """A sign of life of an owner: all its leases begin anew. Not logged. Answered by `Leases`."""

    owner: str


class PutBlobs(Request, frozen=True, tag="put_blobs"):
    """Content that later events will name. Durable no later than the first event sent after it."""

    blobs: tuple[Blob, ...]


class GetBlob(Request, frozen=True, tag="get_blob"):
    hash: str


class GetState(Request, frozen=True, tag="get_state"):
    """Snapshot of all rows now; or of one run as it was after event `seq`, after the last where there is none so late."""

    run_id: str | None = None
    seq: int | None = None


class GetEvents(Request, frozen=True, tag="get_events"):
    run_id: str
    since: int = 0  # seq
    limit: int = 10_000


class Follow(Request, frozen=True, tag="follow"):
    """Subscribe to the events of a run (all runs where None), from after `since` (seq; id where run_id is None). Loses nothing:
    a subscriber that is slow is served from the log. Pushes `Events`."""

    run_id: str | None = None
    since: int | None = None  # None = from now on


class Watch(Request, frozen=True, tag="watch"):
    """Subscribe to row deltas. First push is a snapshot, or what came after `since` where that is still known.
    A subscriber that falls too far behind is pushed a new snapshot. Pushes `Delta`."""

    since: int | None = None


class Unsubscribe(Request, frozen=True, tag="unsubscribe"):
    id: int  # of the Follow or Watch request


class GetLogs(Request, frozen=True, tag="get_logs"):
    """What an agent and its processes said: Message, ProcOutput and errors, as text lines."""

    agent: str
    tail: int | None = None
    since: int = 0  # seq


class Admin(Request, frozen=True, tag="admin"):
    """verb: status | stop | doctor. Only with the admin token."""

    verb: str
    force: bool = False


AnyRequest = (
    AnyCommand | Hello | WaitTicket | WaitAgent | Renew | PutBlobs | GetBlob | GetState | GetEvents
    | Follow | Watch | Unsubscribe | GetLogs | Admin
)  # fmt: skip


class Response(Struct, frozen=True, omit_defaults=True, kw_only=True, tag=True): ...


class Welcome(Response, frozen=True, tag="welcome"):
    version: str
    protocol: int
    pid: int
    identity: str  # admin, or run/agent
    home: str = ""
    database: str = ""


class Leases(Response, frozen=True, tag="leases"):
    """What the owner holds. A grant that is missing here is lost; `revoked` says which of them a person took."""

    grants: tuple[Granted, ...] = ()
    revoked: tuple[Revocation, ...] = ()


class View(Response, frozen=True, tag="view"):
    """Rows or facts as JSON values."""

    data: JSON


class BlobData(Response, frozen=True, tag="blob"):
    data: bytes


class Events(Response, frozen=True, tag="events"):
    events: tuple[Event, ...]


class Delta(Response, frozen=True, tag="delta"):
    """Rows that changed, by table and key; None = the row is gone. `seq`: id of the newest event in it.
    `full`: a snapshot; forget what you knew."""

    seq: int
    tables: dict[str, dict[str, JSON]]
    full: bool = False


class Message(Response, frozen=True, tag="message"):
    """Pushed to a runner, under id 0. verb: send (data: {"seq", "interrupt"}, see `commands.Mail`) | interrupt | pause | resume
    | stop | kill | revoked (data: {"ticket", "reason", "units", "by", "why"}) | answer (data: {"approval", "status", "by",
    "scope", "rule"})."""

    verb: str
    text: str = ""
    data: JSON = None


AnyResponse = AnyReply | Welcome | Leases | View | BlobData | Events | Delta | Message
