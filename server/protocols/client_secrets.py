"""`POST /v1/realtime/client_secrets`: short-lived keys, so that a page or a device need not know the application's."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from server.protocols.http_requests import json_body, json_documentation, need_key
from server.protocols.messages import JSON_BYTES, BadMessage
from server.protocols.openai_errors import ApiRoute, error_responses, of_message
from server.protocols.realtime_session import RealtimeSession
from server.service import Service


class ExpiresAfter(BaseModel):
    """When the key ends; a conversation that has begun goes on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(default=600, ge=10, le=7200)


class Wanted(BaseModel):
    """A key, and how conversations that it opens begin."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: dict[str, Any] = Field(default={}, description="as in `session.update` of the Realtime API")


class Issued(BaseModel):
    """The key and what it opens."""

    value: str = Field(examples=["ek_eyJz…"])
    expires_at: int = Field(description="seconds since 1970")
    session: dict[str, Any]


def client_secrets_router(service: Service) -> APIRouter:
    """The route of `/v1/realtime/client_secrets`."""
    router = APIRouter(tags=["Realtime"], route_class=ApiRoute)

    @router.post(
        "/v1/realtime/client_secrets",
        response_model=Issued,
        responses=error_responses(
            e400="the session is none", e401="no good key was sent", e413="the body is too large"
        ),
        openapi_extra=json_documentation(Wanted),
        dependencies=[Depends(need_key)],
    )
    async def issue(request: Request) -> Issued:
        """A key for a while. Send an API key as `Authorization: Bearer KEY` where the server wants one; a client secret
        cannot make another. The key signs the session, it is stored nowhere: it ends by itself."""
        wanted = await json_body(request, Wanted, JSON_BYTES)
        try:
            session = RealtimeSession().merged(wanted.session)
        except BadMessage as bad:
            raise of_message(bad) from bad
        secret = service.keys.issue(wanted.session, wanted.expires_after.seconds)
        model = service.models.get_or_default(session.model)
        shown = session.render("", model.name, service.options().system_prompt)
        return Issued(value=secret.value, expires_at=secret.expires_at, session=shown)

    return router
