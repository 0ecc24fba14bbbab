"""The real server in a thread of this process, on a port of its own, that can be stopped and started again."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
import uvicorn

from server.app import create_app
from server.generator import Generator
from server.settings import Settings


class LiveServer:
    """`with LiveServer(generator) as server: … server.port …`. Settings are the defaults, but for what is given.

    `also` are further models, which clients may choose.
    """

    def __init__(self, generator: Generator, also: Sequence[Generator] = (), **settings: Any) -> None:
        self.generator, self.also = generator, also
        self.settings = settings
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The page, from a secure context."""
        return f"http://localhost:{self.port}/"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def start(self) -> None:
        """Returns when connections are taken."""
        settings = Settings(_env_file=None, log_level="error", **self.settings)
        app = create_app(settings, [self.generator, *self.also])
        listening = threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                listening.set()

        config = uvicorn.Config(app, "127.0.0.1", self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = Server(config)
        self._thread = threading.Thread(target=self._server.run, name="live-server", daemon=True)
        self._thread.start()
        assert listening.wait(30), "the server did not start"

    def wait_ready(self, timeout_s: float = 240) -> None:
        """Until the model has answered once."""
        deadline = time.monotonic() + timeout_s
        while httpx.get(f"{self.url}ready").status_code != 200:
            assert time.monotonic() < deadline, f"the model was not ready in {timeout_s} s"
            threading.Event().wait(0.1)

    def stop(self) -> None:
        """Close every connection and end; `start()` listens on the same port again."""
        assert self._server
        assert self._thread
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"

    def __enter__(self) -> LiveServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread
        if self._thread.is_alive():
            self.stop()
