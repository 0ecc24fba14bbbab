"""The names under which the server may be reached: what keeps DNS rebinding out.

A page of `evil.example` whose name is pointed at this machine's address is, to the browser, of the same origin as this
server: its `Origin` equals its `Host`. What tells it from the server's own page is the name alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:  # not at run time: `--help` need not wait for the model's modules
    from server.metrics import Metrics

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.%]+[\w.~-]*\]|[\w.-]+)(?::\d{0,5})?", re.ASCII)
_LONGEST_HOST = 300
"""Characters: a name of 253, brackets and a port."""
_ANY_ADDRESS = ("", "0.0.0.0", "::")


def host_name(header: str) -> str | None:
    """A `Host` header → the name or address in it: lower case, without port, brackets and final dot. None: it is
    malformed."""
    if len(header) > _LONGEST_HOST or not (found := _HOST.fullmatch(header.strip().lower())):
        return None
    name = found["name"]
    if name.startswith("["):
        return name[1:-1] if _is_address(name[1:-1]) else None
    return name.removesuffix(".") or None


def read_hosts(setting: str) -> tuple[str, ...]:
    """`--allowed-hosts`, split: names, addresses, `*.example.org` or `*`. Raises `ValueError` for anything else."""
    return tuple(_pattern(part.strip()) for part in setting.split(",") if part.strip())


def _pattern(part: str) -> str:
    if part == "*" or _is_address(part):
        return part.lower()
    wildcard, bare = ("*.", part[2:]) if part.startswith("*.") else ("", part)
    try:
        name = None if ":" in bare else host_name(bare.encode("idna").decode())
    except UnicodeError:
        name = None
    if name is None:
        raise ValueError(
            f"{part[:80]!r} is no host name; give names without scheme, port and path, such as talk.example.org or "
            "*.example.org, or * for all"
        )
    return wildcard + name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class AllowedHosts:
    """Which hosts are answered for.

    Always: `localhost`, names below it, and every IP address. Rebinding needs a name that an attacker controls; a page
    that a browser loaded from an address itself was served by whoever has that address.
    """

    def __init__(self, listed: Sequence[str], bound_to: str) -> None:
        self._any = "*" in listed
        self._names = {name for name in listed if not name.startswith("*")} | {"localhost"}
        if bound_to not in _ANY_ADDRESS and (name := host_name(bound_to)):
            self._names.add(name)
        self._below = (".localhost", *(name[1:] for name in listed if name.startswith("*.")))

    def __contains__(self, name: str) -> bool:
        return self._any or name in self._names or name.endswith(self._below) or _is_address(name)


class HostCheck:
    """Refuses requests for other hosts, before anything else reads them: HTTP by 421 (400 where `Host` is missing,
    malformed or there twice), WebSockets by the same before they are accepted.

    `X-Forwarded-Host` is not looked at: any page's script can send it.
    """

    def __init__(self, app: ASGIApp, allowed: AllowedHosts, metrics: Metrics) -> None:
        self._app, self._allowed, self._metrics = app, allowed, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and (refusal := self._refusal(scope)):
            await self._refuse(refusal, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """(status, code, message); None: the request is for this server."""
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1:
            return 400, "invalid_host", f"{len(hosts)} Host headers; send exactly one"
        name = host_name(hosts[0])
        if name is None:
            return 400, "invalid_host", "the Host header is malformed; send NAME or NAME:PORT"
        if name in self._allowed:
            return None
        message = (
            f"this server does not answer for the host {name!r}; its operator can allow it: --allowed-hosts {name}"
        )
        return 421, "host_not_allowed", f"{message} (OMNI_ALLOWED_HOSTS), see docs/security.md"

    async def _refuse(self, refusal: tuple[int, str, str], scope: Scope, receive: Receive, send: Send) -> None:
        status, code, message = refusal
        counter = self._metrics.errors if scope["type"] == "http" else self._metrics.sessions_refused
        counter.labels(code).inc()
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": code})  # the handshake ends with HTTP 403
            return
        details = {"type": "invalid_request_error", "code": code, "message": message, "param": None}
        await JSONResponse({"error": details}, status)(scope, receive, send)
