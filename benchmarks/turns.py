"""Does it know when you're done? How often it cuts in while somebody hesitates, and how long it waits when all is said.

Every utterance is spoken to a real server in real time, in a conversation of its own: a whole sentence, then silence
until the turn ends; or a beginning, a hesitation, and more speech. It is a cut-in when the turn ends before the speech
goes on. The wait is from the last sample of a whole sentence to `speech_stopped`.

By silence alone nothing is heard or answered meanwhile (`--no-speculate`), so many speak at once; where words are
judged, as many as `TALKERS_JUDGED`, and answers are cut short, so that each finds the server as one alone would.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.questions import MICROPHONE_RATE
from benchmarks.report import Figure, Report, percentile
from benchmarks.server_process import server
from benchmarks.turn_speech import PAUSE_LIMITS_MS, PAUSE_MEDIAN_MS, Kind, Utterance, utterances

SILENCES_MS = (300, 450, 500, 700, 1000)
EAGERNESSES = ("low", "auto", "high")
TALKERS, TALKERS_JUDGED = 24, 3
_CHUNK = MICROPHONE_RATE // 50
_BEFORE_S, _AFTER_S, _LONGEST_S = 0.4, 0.4, 6.0
"""Silence before an utterance; speech after a hesitation; silence after a whole sentence, at most."""
_NOISE_RMS = 20
"""Of the room: -64 dB."""
_SHORT_ANSWERS = ("--max-answer-tokens", "2", "--max-answer-s", "0.3")


@dataclass
class Outcome:
    """What one way of ending turns did to all utterances."""

    waits_ms: list[float] = field(default_factory=list)
    cut_ins: dict[Kind, int] = field(default_factory=dict)
    spoken: dict[Kind, int] = field(default_factory=dict)

    @property
    def cut_in_percent(self) -> float:
        """Of all beginnings."""
        beginnings = sum(count for kind, count in self.spoken.items() if kind != "whole")
        return 100 * sum(self.cut_ins.values()) / beginnings


class _Microphone:
    """Sends sound in real time; `moment` says when a sample of it was sent."""

    def __init__(self, socket: ClientConnection, rng: np.random.Generator) -> None:
        self._socket, self._rng = socket, rng
        self._due = time.monotonic()

    async def send(self, sound: np.ndarray) -> None:
        """(n,) int16; returns when its last piece is sent."""
        for start in range(0, len(sound), _CHUNK):
            piece = sound[start : start + _CHUNK]
            noise = self._rng.normal(0, _NOISE_RMS, len(piece))
            await self._socket.send(np.clip(piece + noise, -32768, 32767).astype("<i2").tobytes())
            self._due += len(piece) / MICROPHONE_RATE
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * MICROPHONE_RATE), np.int16)


async def _until_stopped(socket: ClientConnection) -> float:
    """The moment at which the turn ended."""
    async for message in socket:
        if isinstance(message, str) and json.loads(message)["type"] == "speech_stopped":
            return time.monotonic()
    raise ConnectionError("the server closed the conversation")


async def _speak(url: str, utterance: Utterance, start: dict[str, object], seed: int, outcome: Outcome) -> None:
    async with connect(url, max_size=None, compression=None) as socket:
        await socket.send(json.dumps({"type": "start", "sample_rate": MICROPHONE_RATE, **start}))
        stopped = asyncio.create_task(_until_stopped(socket))
        microphone = _Microphone(socket, np.random.default_rng(seed))
        await microphone.send(np.concatenate([_silence(_BEFORE_S), utterance.sound]))
        ended = time.monotonic()
        kind = utterance.kind
        if kind == "whole":
            silence = asyncio.create_task(microphone.send(_silence(_LONGEST_S)))
            async with asyncio.timeout(_LONGEST_S):
                outcome.waits_ms.append(1000 * (await stopped - ended))
            silence.cancel()
            await asyncio.gather(silence, return_exceptions=True)
        else:
            await microphone.send(_silence(utterance.pause_ms / 1000))
            outcome.cut_ins[kind] = outcome.cut_ins.get(kind, 0) + stopped.done()
            await microphone.send(utterance.rest[: round(_AFTER_S * MICROPHONE_RATE)])
        outcome.spoken[kind] = outcome.spoken.get(kind, 0) + 1
        stopped.cancel()
        await asyncio.gather(stopped, return_exceptions=True)


async def _speak_all(url: str, said: Sequence[Utterance], start: dict[str, object], talkers: int) -> Outcome:
    outcome, places = Outcome(), asyncio.Semaphore(talkers)

    async def one(number: int) -> None:
        async with places:
            await _speak(url, said[number], start, number, outcome)

    await asyncio.gather(*map(one, range(len(said))))
    return outcome


def _figures(name: str, outcome: Outcome) -> list[Figure]:
    kinds = [f"{kind} {outcome.cut_ins[kind]} of {outcome.spoken[kind]}" for kind in sorted(outcome.cut_ins)]
    waits = outcome.waits_ms
    return [
        Figure(f"{name}: cut in", outcome.cut_in_percent, "%", ", ".join(kinds)),
        Figure(f"{name}: mean wait", statistics.mean(waits), "ms", f"of {len(waits)} whole sentences"),
        Figure(f"{name}: median wait", statistics.median(waits), "ms"),
        Figure(f"{name}: 95 % wait at most", percentile(waits, 0.95), "ms"),
    ]


def run(sentences: int, flags: tuple[str, ...]) -> Report:
    """Every way of ending turns, on the first `sentences` sentences, each whole and as a beginning."""
    said = list(utterances(sentences))
    figures = []
    with server("--no-speculate", *flags) as running:
        for silence_ms in SILENCES_MS:
            outcome = asyncio.run(_speak_all(running.url, said, {"end_silence_ms": silence_ms}, TALKERS))
            figures += _figures(f"silence {silence_ms} ms", outcome)
    with server(*_SHORT_ANSWERS, *flags) as running:
        for eagerness in EAGERNESSES:
            outcome = asyncio.run(_speak_all(running.url, said, {"eagerness": eagerness}, TALKERS_JUDGED))
            figures += _figures(f"eagerness {eagerness}", outcome)
    low, high = PAUSE_LIMITS_MS
    workload = (
        f"{len(said) // 2} whole sentences, and as many beginnings (cut: the sentence's own sound up to a word's end; "
        f"hesitating: spoken so, with a comma or um), each followed by a pause of {PAUSE_MEDIAN_MS} ms (median; "
        f"{low} to {high}); hibari and flite {TALKERS} at once by silence, {TALKERS_JUDGED} where words are judged"
    )
    return Report("turns", workload, figures)
