"""`--mic`: this machine's microphone and loudspeaker, through `sounddevice` (an extra)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from client.omni_client import Audio, Event, Interrupted, OmniClient, OmniClientError, ResponseStarted

MICROPHONE_RATE = 16_000
ANSWER_RATE = 24_000
BLOCK_MS = 20
REPORT_S = 0.25


class Devices(Protocol):
    """Where sound comes from and goes to."""

    def open(
        self, on_input: Callable[[bytes], object], fill_output: Callable[[int], bytes]
    ) -> AbstractContextManager[None]:
        """Run both until left. Callbacks come from another thread: `on_input` with PCM16 of 16 kHz, `fill_output` with
        the bytes that are wanted, PCM16 of 24 kHz."""
        ...


class SoundDevices:
    """The system's usual microphone and loudspeaker."""

    def __init__(self) -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
            raise OmniClientError(
                f"--mic needs sounddevice and PortAudio ({error}); "
                "run: pip install sounddevice (on Debian also: apt-get install libportaudio2)"
            ) from error
        self._sounddevice = sounddevice

    @contextmanager
    def open(self, on_input: Callable[[bytes], object], fill_output: Callable[[int], bytes]) -> Iterator[None]:
        def heard(data: object, frames: int, time: object, status: object) -> None:
            on_input(bytes(data))  # type: ignore[call-overload]

        def wanted(data: memoryview, frames: int, time: object, status: object) -> None:
            data[:] = fill_output(len(data))

        audio = self._sounddevice
        block = MICROPHONE_RATE * BLOCK_MS // 1000
        try:
            with (
                audio.RawInputStream(MICROPHONE_RATE, block, channels=1, dtype="int16", callback=heard),
                audio.RawOutputStream(ANSWER_RATE, channels=1, dtype="int16", latency="low", callback=wanted),
            ):
                yield
        except audio.PortAudioError as error:
            raise OmniClientError(f"the microphone or the loudspeaker cannot be opened: {error}") from error


class Playback:
    """Sound to be played, and how much of the present answer has been; for two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._played_bytes = 0
        self._response_id: int | None = None

    def begin(self, response_id: int | None) -> None:
        with self._lock:
            self._waiting.clear()
            self._response_id, self._played_bytes = response_id, 0

    def add(self, pcm: bytes) -> None:
        with self._lock:
            self._waiting += pcm

    def flush(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, count: int) -> bytes:
        """(count,) bytes for the loudspeaker: silence where there is nothing."""
        with self._lock:
            piece = bytes(self._waiting[:count])
            del self._waiting[:count]
            self._played_bytes += len(piece)
        return piece.ljust(count, b"\0")

    @property
    def position(self) -> tuple[int | None, float]:
        """The answer that is played, and how many milliseconds of it have been."""
        with self._lock:
            return self._response_id, self._played_bytes / 2 / ANSWER_RATE * 1000


async def talk(client: OmniClient, devices: Devices) -> AsyncIterator[Event]:
    """Talk until cancelled, or until the server ends it → every event. With headphones: nothing cancels the echo."""
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[bytes] = asyncio.Queue()
    playback = Playback()
    with devices.open(lambda pcm: loop.call_soon_threadsafe(frames.put_nowait, pcm), playback.take):
        helpers = [asyncio.create_task(_listen(client, frames)), asyncio.create_task(_report(client, playback))]
        try:
            async for event in client.events():
                if isinstance(event, ResponseStarted):
                    playback.begin(event.response_id)
                elif isinstance(event, Audio):
                    playback.add(event.pcm)
                elif isinstance(event, Interrupted):
                    playback.flush()
                    await _tell(client, playback)
                yield event
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)


async def _listen(client: OmniClient, frames: asyncio.Queue[bytes]) -> None:
    while True:
        await client.send(await frames.get())


async def _report(client: OmniClient, playback: Playback) -> None:
    """While something is played: how far; and once when it has been played."""
    told: tuple[int | None, float] = (None, 0.0)
    while True:
        await asyncio.sleep(REPORT_S)
        if playback.position != told:
            told = playback.position
            await _tell(client, playback)


async def _tell(client: OmniClient, playback: Playback) -> None:
    response_id, played_ms = playback.position
    if response_id is not None:
        await client.played(played_ms, response_id)
