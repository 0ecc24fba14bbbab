"""`GET /v1/models`: which model answers, as OpenAI's API has it. See `docs/http.md`."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from server.protocols.http_requests import need_key
from server.protocols.openai_errors import ApiError, ApiRoute, error_responses
from server.service import Service


class Model(BaseModel):
    """The model that this server was started with."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """When the server was started, seconds since 1970."""
    owned_by: str = "mini-omni"


class ModelList(BaseModel):
    """All models: there is one."""

    object: Literal["list"] = "list"
    data: list[Model]


def models_router(service: Service) -> APIRouter:
    """The routes of `/v1/models`."""
    router = APIRouter(tags=["Models"], route_class=ApiRoute, dependencies=[Depends(need_key)])
    model = Model(id=service.model_name, created=service.created)

    @router.get("/v1/models", summary="Which model answers", responses=error_responses(e401="no good API key"))
    async def models() -> ModelList:
        """A list of one: the model that this server was started with."""
        return ModelList(data=[model])

    @router.get(
        "/v1/models/{name:path}",
        summary="About the model",
        responses=error_responses(e401="no good API key", e404="another model"),
    )
    async def about(name: str) -> Model:
        """The same model by its name; any other name is not found."""
        if name != model.id:
            raise ApiError(404, "model_not_found", f"there is no model {name!r} here, only {model.id!r}", "model")
        return model

    return router
