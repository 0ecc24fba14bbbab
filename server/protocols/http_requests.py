"""What HTTP requests for answers share: who may ask, how much may be sent, what a body must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.types import Message

from server.auth import bearer, origin_allowed
from server.generator import Generator
from server.models import UnknownModel
from server.protocols.admission import FOREIGN_PAGE, NO_KEY
from server.protocols.openai_errors import LOADING_RETRY_S, ApiError, of_validation
from server.service import Service

_Model = TypeVar("_Model", bound=BaseModel)
_TOO_LARGE = "the body is larger than {} bytes; send less"


def need_key(request: Request) -> None:
    """Raises `ApiError` for whoever may not ask: 401 without a good API key where keys are wanted (client secrets open
    conversations only), 403 for pages of other sites where they are not."""
    service: Service = request.app.state.service
    grant = service.keys.check(bearer(request.headers.get("authorization")))
    if grant is None or grant.session is not None:
        raise ApiError(401, "invalid_api_key", NO_KEY)
    origin, host = request.headers.get("origin"), request.headers.get("host")
    if not service.keys.wanted and not origin_allowed(origin, host, service.settings.origins):
        raise ApiError(403, "origin", FOREIGN_PAGE)


def client_of(request: Request) -> str:
    """Whose request it is where places are shared: of whoever has this key, or this address where there are no keys."""
    service: Service = request.app.state.service
    key = bearer(request.headers.get("authorization")) if service.keys.wanted else None
    if key:
        return f"key {hashlib.sha256(key.encode()).hexdigest()}"
    return f"address {request.client.host}" if request.client else "address unknown"


def loaded_model(service: Service, name: str | None) -> Generator:
    """The model of this name; None: the default. Raises `ApiError` 404 where no loaded model has it."""
    try:
        return service.models.get(name)
    except UnknownModel as error:
        raise ApiError(404, "model_not_found", str(error), "model") from None


def need_model(request: Request) -> None:
    """Raises `ApiError` 503 while a model is loading or the server is shutting down."""
    service: Service = request.app.state.service
    if not service.ready:
        message = "the model is not ready, or the server is shutting down; try again in some seconds"
        raise ApiError(503, "not_ready", message, retry_after_s=LOADING_RETRY_S)


def bounded(request: Request, limit: int) -> Request:
    """The same request, whose body raises `ApiError` 413 as soon as it is larger than `limit` bytes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise ApiError(413, "body_too_large", _TOO_LARGE.format(limit))
    return Request(request.scope, _counted(request.receive, limit))


def _counted(receive: Callable[[], Awaitable[Message]], limit: int) -> Callable[[], Awaitable[Message]]:
    came = 0

    async def counted() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > limit:
            raise ApiError(413, "body_too_large", _TOO_LARGE.format(limit))
        return message

    return counted


async def json_body(request: Request, kind: type[_Model], limit: int) -> _Model:
    """A JSON body of at most `limit` bytes. Raises `ApiError` 413, or 400 that names the field that is wrong."""
    body = await bounded(request, limit).body()
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise of_validation([dict(one) for one in error.errors(include_url=False)]) from error


def json_documentation(kind: type[BaseModel]) -> dict[str, object]:
    """`openapi_extra` of a route that reads its body by `json_body`."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": kind.model_json_schema()}}}}
