"""`GET /v1/models`: which models answer, as OpenAI's API has it. See `docs/http.md`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from server.protocols.http_requests import loaded_model, need_key
from server.protocols.openai_errors import ApiRoute, error_responses
from server.service import Service


class Model(BaseModel):
    """A model that this server has loaded."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """When the server was started, seconds since 1970."""
    owned_by: str = "mini-omni"


class ModelList(BaseModel):
    """All models, the one that answers where none is named first."""

    object: Literal["list"] = "list"
    data: list[Model]


def models_router(service: Service) -> APIRouter:
    """The routes of `/v1/models`."""
    router = APIRouter(tags=["Models"], route_class=ApiRoute, dependencies=[Depends(need_key)])

    @router.get("/v1/models", summary="Which models answer", responses=error_responses(e401="no good API key"))
    async def models() -> ModelList:
        """Those that are loaded, the default first. While they load, the list is empty."""
        return ModelList(data=[Model(id=name, created=service.created) for name in service.models.names])

    @router.get(
        "/v1/models/{name:path}",
        summary="About a model",
        responses=error_responses(e401="no good API key", e404="it is not loaded"),
    )
    async def about(name: str) -> Model:
        """A loaded model by its name; any other name is not found."""
        return Model(id=loaded_model(service, name).name, created=service.created)

    return router
