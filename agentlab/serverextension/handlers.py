"""What all routes share: Jupyter's login and authorizer on every verb, and errors in the plane's shape."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web

from agentlab.errors import AgentlabError, BadRequest, NotFound

from .problems import TooLarge, answer
from .who import name_of

if TYPE_CHECKING:
    from .app import Gateway

RESOURCE = "agentlab"
_encode = msgspec.json.Encoder(enc_hook=str).encode

Verb = TypeVar("Verb", bound=Callable[..., Any])


def guarded(verb: Verb) -> Verb:
    """A verb that answers what it raises."""

    @wraps(verb)
    async def inner(self: GatewayHandler, *args: str, **kwargs: str) -> None:
        try:
            await verb(self, *args, **kwargs)
        except AgentlabError as error:
            self.answer_error(error)

    return cast("Verb", inner)


class GatewayHandler(APIHandler):
    auth_resource = RESOURCE

    def initialize(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def answer_json(self, value: Any, status: int = 200) -> None:
        self.set_status(status)
        self.finish(_encode(value))

    def answer_error(self, error: AgentlabError) -> None:
        if self._headers_written:  # half an answer cannot become another one: it is cut, and the browser sees that
            self.log.warning("agentlab: an answer was cut: %s", error)
            self.detach().close()
            return
        status, body = answer(error)
        self.answer_json(body, status)

    @property
    def who(self) -> str:
        """The name of who asks, for the log."""
        return name_of(self.current_user)

    def json_body(self, limit: int) -> dict[str, Any]:
        """The JSON object of the body, {} where there is none. Raises BadRequest."""
        body = self.request.body
        if len(body) > limit:
            raise TooLarge(f"The request has {len(body):,} bytes; at most {limit:,} are taken here.")
        try:
            values = msgspec.json.decode(body) if body.strip() else {}
        except msgspec.DecodeError as error:
            raise BadRequest(f"The body is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise BadRequest("The body must be a JSON object.")
        return values


class Unknown(GatewayHandler):
    """Everything below agentlab/ that is not in the list."""

    def _refuse(self) -> NoReturn:
        raise NotFound(f"{self.request.method} {self.request.path} is no route of agentlab.")

    @web.authenticated
    @authorized
    @guarded
    async def get(self, *path: str) -> None:
        self._refuse()

    @web.authenticated
    @authorized
    @guarded
    async def post(self, *path: str) -> None:
        self._refuse()

    @web.authenticated
    @authorized
    @guarded
    async def put(self, *path: str) -> None:
        self._refuse()

    @web.authenticated
    @authorized
    @guarded
    async def patch(self, *path: str) -> None:
        self._refuse()

    @web.authenticated
    @authorized
    @guarded
    async def delete(self, *path: str) -> None:
        self._refuse()
