"""Who may connect: pages of this server and of the origins that the operator names, and whoever has a key where keys
are wanted."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeSerializer

KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""Of browsers: what follows is the key."""
_CLIENT_SECRET = "ek_"


def origin_allowed(origin: str | None, host: str | None, allowed: tuple[str, ...]) -> bool:
    """Whether a handshake with these `Origin` and `Host` headers is let in (RFC 6455, section 10.2).

    Browsers always send `Origin` and pages cannot forge it; a program that sends none is not a page.
    """
    if origin is None or "*" in allowed or origin.rstrip("/") in allowed:
        return True
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == (host or "").lower()


@dataclass(frozen=True)
class Grant:
    """What a key allows: everything, or with a client secret a conversation that begins as `session` says."""

    session: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ClientSecret:
    """A key that an application gives to a page or a device instead of its own."""

    value: str
    expires_at: int
    """Seconds since 1970."""


class Keys:
    """Who has a key. Client secrets are signed, not stored: every replica with the same keys takes them."""

    def __init__(self, api_keys: tuple[str, ...], clock: Callable[[], float] = time.time) -> None:
        self._api_keys = tuple(key.encode() for key in api_keys)
        secret = hashlib.sha256(b"\n".join(sorted(self._api_keys))).hexdigest() if api_keys else secrets.token_hex(32)
        self._signer = URLSafeSerializer(secret, salt="client-secret")
        self._clock = clock

    @property
    def wanted(self) -> bool:
        """Without a key nobody gets in."""
        return bool(self._api_keys)

    def check(self, key: str | None) -> Grant | None:
        """What this key allows; None: it is no key, or its time is over. Without keys everybody is let in."""
        if key and key.startswith(_CLIENT_SECRET):
            return self._check_secret(key.removeprefix(_CLIENT_SECRET))
        if not self.wanted:
            return Grant()
        given = (key or "").encode()
        known = [secrets.compare_digest(given, api_key) for api_key in self._api_keys]  # all: equal time for any key
        return Grant() if any(known) else None

    def issue(self, session: Mapping[str, Any], seconds: float) -> ClientSecret:
        """A key for so long, for conversations that begin as `session` says."""
        expires_at = int(self._clock() + seconds)
        signed = self._signer.dumps({"session": session, "expires_at": expires_at, "nonce": secrets.token_hex(4)})
        return ClientSecret(f"{_CLIENT_SECRET}{signed}", expires_at)

    def _check_secret(self, signed: str) -> Grant | None:
        try:
            payload = self._signer.loads(signed)
        except BadSignature:
            return None
        return Grant(payload["session"]) if payload["expires_at"] > self._clock() else None


def bearer(authorization: str | None) -> str | None:
    """The key of an `Authorization: Bearer KEY` header (RFC 6750)."""
    scheme, _, key = (authorization or "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def subprotocol_key(subprotocols: Sequence[str]) -> str | None:
    """The key that a browser sends as a WebSocket subprotocol, where it cannot set headers."""
    offered = (s.removeprefix(KEY_SUBPROTOCOL) for s in subprotocols if s.startswith(KEY_SUBPROTOCOL))
    return next(offered, None)
