"""What HTTP requests for answers share: who may ask, how much may be sent, what a body must hold."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.types import Message

from server.auth import bearer, origin_allowed
from server.generator import Generator
from server.models import UnknownModel
from server.protocols.admission import FOREIGN_PAGE, NO_KEY
from server.protocols.messages import BadField, BadMessage, read_fields, read_object
from server.protocols.openai_errors import LOADING_RETRY_S, ApiError, of_field, of_message
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


async def json_body(request: Request, kind: type[_Model], limit: int, json_limit: int | None = None) -> _Model:
    """A JSON body of at most `limit` bytes, of which `json_limit` are not `audio`. Raises `ApiError` 413, or 400 that
    names the field that is wrong."""
    body = bytearray()  # grows in place: to join 25 MiB at once takes 10 ms
    async for chunk in bounded(request, limit).stream():
        body += chunk
    try:
        return read_fields(kind, read_object(body, "docs/http.md shows", min(limit, json_limit or limit)))
    except BadMessage as bad:
        raise of_message(bad) from None
    except BadField as bad:
        raise of_field(bad) from None


def json_documentation(kind: type[BaseModel]) -> dict[str, object]:
    """`openapi_extra` of a route that reads its body by `json_body`."""
    schema = kind.model_json_schema()
    schema = _inlined(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """A JSON schema with the definitions that it refers to in their place: OpenAPI keeps its own elsewhere."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {name: value for name, value in schema.items() if name != "$ref"}
        return {**_inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions), **rest}
    return {name: _inlined(one, definitions) for name, one in schema.items()}
