"""Runs the application on uvicorn, with an end that lets answers end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator, Sequence

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from server.app import create_app
from server.generator import Generator
from server.service import Service
from server.settings import Settings

_TRANSPORT_FRAME_LIMITS = 4
"""Frames up to so many times the limit are read and answered by a typed error; larger ones close with 1009."""
_READ_BYTES = 1 << 14


class SmallReads(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which reads 16 KiB at once instead of 256: all frames of a read are parsed in one step of
    the event loop, and 37,000 of the shortest in a read of 256 KiB take 150 ms."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection was made, or has become a WebSocket."""
        if hasattr(transport, "max_size"):  # of asyncio's own transports
            transport.max_size = _READ_BYTES
        super().connection_made(transport)


class DrainingServer(uvicorn.Server):
    """Uvicorn that drains conversations before it closes sockets, and ends with exit code 0 on a signal."""

    def __init__(self, config: uvicorn.Config, service: Service, drain_s: float) -> None:
        super().__init__(config)
        self._service = service
        self._drain_s = drain_s

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """First signal: drain; second: stop at once."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers in progress end first; meanwhile `/health` answers and `/ready` says no."""
        if not self.force_exit:
            await self._service.drain(self._drain_s)
        await super().shutdown(sockets)


def serve(settings: Settings, generators: Sequence[Generator]) -> int:
    """Serve until a signal. → exit code: 0 after a signal, 1 when a model could not be started."""
    server: DrainingServer
    app = create_app(settings, generators, on_failure=lambda: server.handle_exit(signal.SIGTERM, None))
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws=SmallReads,
        ws_max_size=_TRANSPORT_FRAME_LIMITS * settings.max_frame_bytes,
        ws_max_queue=8,
        ws_per_message_deflate=False,
        # pongs are not read while a message waits for the model to load, or for a client that reads slowly
        ws_ping_timeout=max(20.0, settings.ready_timeout_s, settings.send_timeout_s),
        timeout_graceful_shutdown=1,
    )
    server = DrainingServer(config, service, settings.drain_s)
    server.run()
    if service.failure:
        print(f"a model did not start: {service.failure}", file=sys.stderr)
        return 1
    return 0
