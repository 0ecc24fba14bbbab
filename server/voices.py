"""Who is speaking? The voice probability of every open microphone, computed together.

Windows that arrive in one turn of the event loop are judged in one call: a few right here, many in a thread, while
which the next gather. So the cost of a microphone falls as their number grows, and the event loop does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from model.voice_activity import WINDOW_SAMPLES, VoiceActivity, VoiceState

_AT_ONCE = 8
"""Windows that are judged without a thread: about 0.2 ms."""


class VoiceStream:
    """One microphone: what was heard of it, cut into windows."""

    def __init__(self) -> None:
        self.state = VoiceState()
        self._rest = np.zeros(0, np.float32)

    def windows(self, samples: np.ndarray) -> np.ndarray:
        """(n,) float32 at 16 kHz, any n → the windows that they complete, (k, 512)."""
        joined = np.concatenate([self._rest, samples]) if len(self._rest) else samples
        whole = len(joined) - len(joined) % WINDOW_SAMPLES
        self._rest = joined[whole:].copy()
        return joined[:whole].reshape(-1, WINDOW_SAMPLES)


@dataclass(frozen=True)
class _Waiting:
    stream: VoiceStream
    windows: np.ndarray
    probabilities: asyncio.Future[list[float]]


class Voices:
    """All microphones of one server. Belongs to one event loop."""

    def __init__(self) -> None:
        self._activity: VoiceActivity | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="voices")
        self._waiting: list[_Waiting] = []
        self._busy = False
        """A turn is planned or running; its end begins the next."""

    async def start(self) -> None:
        """Open the network. Raises `RuntimeError` when its package is not installed."""
        self._activity = await asyncio.get_running_loop().run_in_executor(self._thread, VoiceActivity)

    async def probabilities(self, stream: VoiceStream, samples: np.ndarray) -> Sequence[float]:
        """(n,) float32 more of a microphone → how likely each window that they complete holds a voice."""
        windows = stream.windows(samples)
        if not len(windows):
            return ()
        loop = asyncio.get_running_loop()
        waiting = _Waiting(stream, windows, loop.create_future())
        self._waiting.append(waiting)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._turn, loop)
        return await waiting.probabilities

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered, self._waiting = self._waiting, []
        if sum(len(one.windows) for one in gathered) <= _AT_ONCE:
            judged: asyncio.Future[list[list[float]]] = loop.create_future()
            try:
                judged.set_result(self._judge(gathered))
            except Exception as error:  # noqa: BLE001 - told to the conversations that asked
                judged.set_exception(error)
            self._tell(loop, gathered, judged)
        else:
            judged = loop.run_in_executor(self._thread, self._judge, gathered)
            judged.add_done_callback(partial(self._tell, loop, gathered))

    def _tell(
        self, loop: asyncio.AbstractEventLoop, gathered: list[_Waiting], judged: asyncio.Future[list[list[float]]]
    ) -> None:
        error = judged.exception()
        for index, one in enumerate(gathered):
            if one.probabilities.done():  # its conversation is gone
                continue
            if error:
                one.probabilities.set_exception(error)
            else:
                one.probabilities.set_result(judged.result()[index])
        self._busy = bool(self._waiting)
        if self._busy:
            loop.call_soon(self._turn, loop)

    def _judge(self, gathered: list[_Waiting]) -> list[list[float]]:
        """Windows of one microphone follow one another, those of different ones are judged together."""
        activity = self._activity
        found: list[list[float]] = [[] for _ in gathered]
        assert activity is not None, "the voices were not started"
        for number in range(max(len(one.windows) for one in gathered)):
            rows = [index for index, one in enumerate(gathered) if number < len(one.windows)]
            windows = np.stack([gathered[index].windows[number] for index in rows])
            judged = activity.judge([gathered[index].stream.state for index in rows], windows)
            for index, probability in zip(rows, judged.tolist(), strict=True):
                found[index].append(probability)
        return found
