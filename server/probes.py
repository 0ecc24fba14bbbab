"""`/health`, `/ready` and `/metrics`: what load balancers and monitoring ask."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from server.service import Service

_FIGURES = """\
# HELP omni_sessions Conversations open now
# TYPE omni_sessions gauge
omni_sessions 3.0
"""
_NO_KEY: dict[str, Any] = {"security": [{}]}


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether new questions are taken."""

    ready: bool = Field(description="every model has answered once, and the server is not shutting down")
    model: str = Field(
        description="the one that answers where none is named; while it loads, as it was named to the server",
        examples=["smol-omni", "gpt-omni/mini-omni"],
    )
    models: list[str] = Field(
        description="all that a client may choose, the default first; empty while they load",
        examples=[["omni-1.5b", "smol-omni"]],
    )


def probes_router(service: Service) -> APIRouter:
    """The three routes. They need no key."""
    router = APIRouter(tags=["Operation"])

    @router.get("/health", summary="Does the process answer?", openapi_extra=_NO_KEY)
    async def health() -> Health:
        """200 from the first moment on, while the model loads and while the server drains."""
        return Health()

    @router.get(
        "/ready",
        summary="Are new questions taken?",
        response_model=Readiness,
        openapi_extra=_NO_KEY,
        responses={503: {"model": Readiness, "description": "A model loads, or the server shuts down"}},
    )
    async def ready() -> JSONResponse:
        """200 when every model has answered once and new questions are taken; 503 otherwise."""
        models = service.models
        told = Readiness(ready=service.ready, model=models.default.name, models=list(models.names))
        return JSONResponse(told.model_dump(), 200 if service.ready else 503)

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        response_class=Response,
        openapi_extra=_NO_KEY,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}, "example": _FIGURES}}}},
    )
    async def metrics() -> Response:
        """Counters, gauges and histograms in the text exposition format; docs/deploy.md says what each tells."""
        return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
