"""Errors over HTTP as OpenAI's API tells them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from model.request import EngineFull, InvalidRequest, OmniError
from server.protocols.messages import BadField, BadMessage
from server.service import Service

_CLIENT_GONE = 499
"""Nobody reads this answer; the figures do."""
BUSY_RETRY_S = 2.0
LOADING_RETRY_S = 10.0


class ApiError(Exception):
    """A request that is not done, and what to tell its client."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> JSONResponse:
        """As an HTTP response."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(math.ceil(self.retry_after_s))}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


class ErrorBody(BaseModel):
    """What was wrong, and what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """Every answer that is not 2xx."""

    error: ErrorBody


def error_responses(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """For a route's documentation: `e400="…"` → its error responses."""
    return {int(name[1:]): {"model": ErrorResponse, "description": text} for name, text in descriptions.items()}


def of_model(error: OmniError) -> ApiError:
    """What the model raises on purpose."""
    if isinstance(error, EngineFull):
        return ApiError(503, error.code, str(error), retry_after_s=BUSY_RETRY_S)
    return ApiError(400 if isinstance(error, InvalidRequest) else 500, error.code, str(error))


def of_field(bad: BadField) -> ApiError:
    """A field that is wrong."""
    param = bad.path or None
    if bad.kind == "missing":
        return ApiError(400, "missing_required_parameter", f"{param} is missing; send it", param)
    return ApiError(400, "invalid_value", f"{param}: {bad.problem}" if param else bad.problem, param)


def of_message(bad: BadMessage) -> ApiError:
    """A body that cannot be read."""
    code, message, param = bad.problem.code, bad.problem.message, bad.problem.field
    if code == "frame_too_large":
        return ApiError(413, "body_too_large", message, param)
    return ApiError(400, "invalid_value" if code in ("invalid_json", "too_many_values") else code, message, param)


class ApiRoute(APIRoute):
    """A route whose errors are told as above, and counted."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            service: Service = request.app.state.service
            try:
                with service.asked():
                    response = await handle(request)
            except ClientDisconnect:
                response = Response(status_code=_CLIENT_GONE)
            except (ApiError, OmniError, RequestValidationError) as error:
                response = _tell(service, error)
            except Exception:  # logged with its trace, counted, told to the client
                service.log.exception("http_request_broke", route=self.path)
                fault = ApiError(500, "internal_error", "a fault in the server; try again")
                response = _tell(service, fault)
            service.metrics.http_requests.labels(self.path, str(response.status_code)).inc()
            return response

        return told


def _tell(service: Service, error: ApiError | OmniError | RequestValidationError) -> Response:
    if isinstance(error, RequestValidationError):  # of a route's path or query; bodies are read by `json_body`
        first = error.errors()[0]
        error = of_field(BadField(first["type"], tuple(first["loc"][1:]), first["msg"].removeprefix("Value error, ")))
    elif isinstance(error, OmniError):
        error = of_model(error)
    service.metrics.errors.labels(error.code).inc()
    return error.response()


def unknown_router() -> APIRouter:
    """What is left of `/v1/`: 404 as OpenAI tells it. Included after every other route."""
    router = APIRouter(route_class=ApiRoute)

    @router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def unknown(request: Request) -> Response:
        message = f"there is no {request.method} {request.url.path} here; docs/http.md lists what there is"
        raise ApiError(404, "unknown_url", message)

    return router
