"""Whether a WebSocket is let in: by its key where the server wants one, by its origin where it does not."""

from __future__ import annotations

from fastapi import WebSocket
from fastapi.responses import JSONResponse

from server.auth import Grant, bearer, origin_allowed, subprotocol_key
from server.service import Service

NO_KEY = "the key is missing, wrong or over; send one of this server's as `Authorization: Bearer KEY`"

FOREIGN_PAGE = "this page's origin may not connect; the operator lists others with --allowed-origins"


async def admit(websocket: WebSocket, service: Service) -> Grant | None:
    """What the client may do; None: it was refused, with HTTP 401 or 403 and the reason.

    A key says that its bearer may come from anywhere. Without keys, pages of other sites may not come (RFC 6455,
    section 10.2): the browser of a person who can reach the server would lend them its place.
    """
    headers = websocket.headers
    grant = service.keys.check(bearer(headers.get("authorization")) or subprotocol_key(websocket.scope["subprotocols"]))
    if grant is None:
        await _refuse(websocket, service, 401, "invalid_api_key", NO_KEY)
        return None
    host, origins = headers.get("host"), service.settings.origins
    if not service.keys.wanted and not origin_allowed(headers.get("origin"), host, origins):
        await _refuse(websocket, service, 403, "origin", FOREIGN_PAGE)
        return None
    return grant


async def _refuse(websocket: WebSocket, service: Service, status: int, code: str, message: str) -> None:
    service.metrics.sessions_refused.labels(code).inc()
    details = {"type": "invalid_request_error", "code": code, "message": message}
    await websocket.send_denial_response(JSONResponse({"error": details}, status))
