"""`/docs`: the HTTP routes for people to read and to try, and the pages of the WebSocket protocols.

Swagger UI's files come from this server. They lie in the package `fastapi-swagger`, whose code is never imported; the
security policy of every other page holds for this one, too.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

TITLE = "Mini-Omni voice chat"
DESCRIPTION = """\
A real-time voice-chat server around an end-to-end speech model. Conversations are WebSockets, which OpenAPI cannot
describe. They have pages of their own:

* [`/ws`](docs/protocol.md): the server's own protocol, PCM16 in, JSON and PCM16 out;
* [`/v1/realtime`](docs/realtime.md): the Realtime API.

Here are the HTTP routes. A server that wants keys takes one as `Authorization: Bearer KEY`.
"""
LICENSE = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
TAGS = [
    {"name": "Chat", "description": "One request, one answer."},
    {"name": "Audio", "description": "Text to speech and speech to text."},
    {"name": "Models", "description": "Which models answer."},
    {"name": "Realtime", "description": "Around the WebSocket of the Realtime API."},
    {"name": "Operation", "description": "For load balancers, monitoring and whoever runs the server."},
]
_PAGE = """\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>Mini-Omni: HTTP API</title>
    <link rel="icon" href="icons/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="docs/swagger-ui.css">
    <script src="docs/swagger-ui-bundle.js" defer></script>
    <script src="docs/start.js" defer></script>
  </head>
  <body>
    <main id="api"></main>
    <noscript>Read <a href="openapi.json">openapi.json</a>: this page needs JavaScript.</noscript>
  </body>
</html>
"""
_START = """\
SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#api',
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null, // its default sends the address to swagger.io
});
"""
_SWAGGER_FILES = ("swagger-ui.css", "swagger-ui-bundle.js")
_PAGES = ("protocol.md", "realtime.md")
_PACKAGE = Path(__file__).resolve().parent
_DOCUMENTS = _PACKAGE / "docs" if (_PACKAGE / "docs").is_dir() else _PACKAGE.parent / "docs"


class DescribedApi(FastAPI):
    """Its OpenAPI description says that a key may be sent, so that Swagger UI has a place for it."""

    def openapi(self) -> dict[str, Any]:
        """See FastAPI."""
        schema = super().openapi()
        key = {"type": "http", "scheme": "bearer", "description": "one of `--api-keys`, where the server has any"}
        schema["components"]["securitySchemes"] = {"key": key}
        schema["security"] = [{"key": []}, {}]
        used = {tag for item in schema["paths"].values() for operation in item.values() for tag in operation["tags"]}
        schema["tags"] = [tag for tag in TAGS if tag["name"] in used]
        return schema


def api_docs_router() -> APIRouter:
    """`/docs` and what it loads; addresses are relative, so that a proxy may put a path before all of it."""
    router = APIRouter(include_in_schema=False)
    package = importlib.metadata.distribution("fastapi-swagger")
    files = {name: Path(str(package.locate_file(f"fastapi_swagger/resources/{name}"))) for name in _SWAGGER_FILES}

    @router.get("/docs")
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE)

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @router.get("/docs/{name}")
    async def file(name: str) -> FileResponse:
        if name in files:
            return FileResponse(files[name])
        if name in _PAGES:
            return FileResponse(_DOCUMENTS / name, media_type="text/plain")
        raise HTTPException(404)

    return router
