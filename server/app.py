"""The web application: routes, the page, and what starts and ends with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_command import version
from server.api_docs import DESCRIPTION, LICENSE, TAGS, TITLE, DescribedApi, api_docs_router
from server.generator import Generator
from server.hosts import AllowedHosts, HostCheck
from server.probes import probes_router
from server.protocols.chat import chat_router
from server.protocols.client_secrets import client_secrets_router
from server.protocols.models import models_router
from server.protocols.native import native_router
from server.protocols.openai_errors import unknown_router
from server.protocols.realtime import realtime_router
from server.protocols.speech import speech_router
from server.protocols.transcriptions import transcriptions_router
from server.service import MakeDetector, Service
from server.settings import Settings
from server.turns import Endpointer

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class SecurityHeaders:
    """Every response may load only this server's own files, and be framed by nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def create_app(
    settings: Settings,
    generators: Sequence[Generator],
    make_detector: MakeDetector = Endpointer,
    on_failure: Callable[[], None] = lambda: None,
) -> FastAPI:
    """The server around one generator for each model; the first answers where a client names none.

    The models load in the background once the application starts; `on_failure` is called when one cannot, with the
    reason in `app.state.service.failure`. `make_detector` replaces the rules of turns (tests).
    """
    service = Service(settings, generators, make_detector)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start(on_failure)
        yield
        await service.stop()

    app = DescribedApi(
        title=TITLE,
        version=version(),
        description=DESCRIPTION,
        license_info=LICENSE,
        openapi_tags=TAGS,
        docs_url=None,  # its own pages would load from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    if settings.checks_hosts:
        app.add_middleware(HostCheck, allowed=AllowedHosts(settings.hosts, settings.host), metrics=service.metrics)
    app.add_middleware(SecurityHeaders)  # the outermost: refusals have the headers, too

    app.include_router(probes_router(service))
    app.include_router(api_docs_router())
    app.include_router(native_router(service))
    app.include_router(client_secrets_router(service))
    app.include_router(realtime_router(service))
    app.include_router(chat_router(service))
    app.include_router(speech_router(service))
    app.include_router(transcriptions_router(service))
    app.include_router(models_router(service))
    app.include_router(unknown_router())

    @app.websocket("/{path:path}")
    async def elsewhere(websocket: WebSocket) -> None:
        await websocket.close()  # before accept: HTTP 403

    app.mount("/", StaticFiles(directory=settings.static_dir, html=True, check_dir=False), name="static")
    return app
