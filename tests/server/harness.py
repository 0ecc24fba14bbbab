"""What the server's tests share: a server on a real socket, a client, speech, a clock and a detector on strings."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from server.app import create_app
from server.generator import Generator
from server.service import MakeDetector, Service
from server.serving import SmallReads
from server.settings import Settings
from server.turns import Endpointer, TurnRules, TurnSignal


def settings(**changes: Any) -> Settings:
    """Defaults that no environment or file of this machine changes."""
    return Settings(_env_file=None, **changes)


@dataclass
class FakeClock:
    """Seconds that pass when told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class ScriptedDetector:
    """Gives each signal once that many samples were pushed."""

    script: list[tuple[int, TurnSignal]]
    on_flush: list[TurnSignal] = field(default_factory=list)
    on_expect: list[TurnSignal] = field(default_factory=list)
    expected: list[float | None] = field(default_factory=list)
    position: int = 0
    resets: int = 0
    rules: TurnRules | None = None

    def push(
        self, samples: np.ndarray, probabilities: Sequence[float], levels: Sequence[float] | None = None
    ) -> list[TurnSignal]:
        self.position += len(samples)
        due = [signal for at, signal in self.script if at <= self.position]
        self.script = [(at, signal) for at, signal in self.script if at > self.position]
        return due

    def learn(self, too_soon: bool) -> None:
        """Nothing is learnt by a script."""

    def expect(self, probability: float | None) -> list[TurnSignal]:
        self.expected.append(probability)
        signals, self.on_expect = self.on_expect, []
        return signals

    def flush(self) -> list[TurnSignal]:
        signals, self.on_flush = self.on_flush, []
        return signals

    def reset(self) -> None:
        self.resets += 1

    def configure(self, rules: TurnRules) -> None:
        self.rules = rules


@dataclass
class Running:
    """A server that runs."""

    url: str
    base: str
    service: Service


@asynccontextmanager
async def running(
    generator: Generator,
    make_detector: MakeDetector = Endpointer,
    until_ready: bool = True,
    also: Sequence[Generator] = (),
    **changes: Any,
) -> AsyncIterator[Running]:
    """The application on a free port of this machine, in this event loop. `also` are further models."""
    app = create_app(settings(**changes), [generator, *also], make_detector)
    config = uvicorn.Config(
        app,
        port=0,
        log_config=None,
        ws=SmallReads,
        ws_max_size=4 << 20,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    started = asyncio.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            started.set()

    server = Server(config)
    task = asyncio.create_task(server.serve())
    service: Service = app.state.service
    try:
        await started.wait()
        if until_ready:
            assert await service.wait_ready(60)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield Running(f"ws://{host}:{port}/ws", f"http://{host}:{port}", service)
    finally:
        server.should_exit = True
        await task


class Client:
    """A raw client: sends messages, reads them back as dicts and bytes."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def start(self, **fields: Any) -> dict[str, Any]:
        await self.send("start", **fields)
        return await self.next("ready")

    async def receive(self, timeout_s: float = 20) -> dict[str, Any] | bytes:
        async with asyncio.timeout(timeout_s):
            message = await self.socket.recv()
        return message if isinstance(message, bytes) else json.loads(message)

    async def next(self, kind: str) -> dict[str, Any]:
        """The next message, which must be of this kind."""
        message = await self.receive()
        assert isinstance(message, dict), f"sound instead of {kind}"
        assert message["type"] == kind, message
        return message

    async def until(self, kind: str) -> list[dict[str, Any] | bytes]:
        """Everything up to a message of this kind, which is the last."""
        messages = [await self.receive()]
        while not (isinstance(messages[-1], dict) and messages[-1]["type"] == kind):
            messages.append(await self.receive())
        return messages


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[Client]:
    """Connect."""
    async with connect(url, max_size=None, compression=None, **options) as socket:
        yield Client(socket)


def kinds(messages: list[dict[str, Any] | bytes]) -> list[str]:
    """Their types; sound is `"audio"`; repeats in a row count once."""
    names = ["audio" if isinstance(m, bytes) else str(m["type"]) for m in messages]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def pcm(samples: np.ndarray) -> bytes:
    """(n,) float32 → PCM16."""
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
