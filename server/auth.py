"""Who may connect: pages of this server and of the origins that the operator names; programs always."""

from __future__ import annotations

from urllib.parse import urlsplit


def origin_allowed(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a handshake with these `Origin` and `Host` headers is let in (RFC 6455, section 10.2).

    Browsers always send `Origin` and pages cannot forge it; a program that sends none is not a page.
    """
    if origin is None or "*" in allowed or origin.rstrip("/") in allowed:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == (host or "").lower()
