"""Does it know when you're done? How often it cuts in while somebody hesitates, and how long it waits when all is said.

Whole sentences and beginnings are spoken to a real server, each in a conversation of its own. It hears what was said at
the pause after it and tells, with `speech_stopped`, where it noticed the end of speech and how likely that was all. How
much silence ends the turn follows from that, to the sample (`model/eagerness.py`): a turn of a whole sentence waits so
long, and a speaker who hesitates is cut in on when the hesitation is longer.

The judgement takes time as well. On a machine that others use it says nothing, so the server is given the time that it
needs (silence trickles in slowly), and every judged wait is at least a pause and `HEARING_MS`, what hearing and judging
take on two cores that have nothing else to do. Pauses within a sentence are not judged here.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.questions import MICROPHONE_RATE
from benchmarks.report import Figure, Report, percentile
from benchmarks.server_process import server
from benchmarks.turn_speech import PAUSE_LIMITS_MS, PAUSE_MEDIAN_MS, Utterance, utterances
from model.eagerness import WAITS, Waits
from model.voice_activity import WINDOW_SAMPLES

SILENCES_MS = (300, 450, 500, 700, 1000)
PAUSE_MS, HEARING_MS = 128, 150
"""Silence at which the server begins to hear (`--pause-ms`), and what hearing and judging take."""
TALKERS = 3
_BEFORE_MS, _AT_ONCE_MS, _TRICKLE_MS = 400, 160, 20
"""Silence before an utterance; after it, what makes the server begin to hear; then so much at a time."""
_TRICKLE_S, _LIMIT_S = 0.1, 60.0
_NOISE_RMS = 20
"""Of the room: -64 dB."""
_SHORT_ANSWERS = ("--max-answer-tokens", "2", "--max-answer-s", "0.3")
_WINDOW_MS = 1000 * WINDOW_SAMPLES / MICROPHONE_RATE


@dataclass(frozen=True)
class Judged:
    """An utterance and what the server made of it."""

    utterance: Utterance
    late_ms: float
    """How much later than the last sample speech seemed to end to the server; negative: earlier."""
    probability: float | None
    """That all was said; None where it was not judged."""

    def wait_ms(self, silence_ms: float) -> float:
        """From the last sample to the end of the turn, if so much silence ends it: windows of 32 ms are counted."""
        return self.late_ms + math.ceil(silence_ms / _WINDOW_MS) * _WINDOW_MS


async def _until_stopped(socket: ClientConnection, least_ms: float) -> tuple[float, float | None]:
    """Where speech ended, and how likely that was all; turns that ended within the utterance are passed over."""
    async for message in socket:
        event = json.loads(message) if isinstance(message, str) else {}
        if event.get("type") == "speech_stopped" and event["at_ms"] >= least_ms:
            return event["at_ms"], event["end_of_turn"]
    raise ConnectionError("the server closed the conversation")


def _silence(ms: float) -> np.ndarray:
    return np.zeros(round(ms * MICROPHONE_RATE / 1000), np.int16)


async def _speak(url: str, utterance: Utterance, seed: int) -> Judged:
    rng = np.random.default_rng(seed)
    ended_ms = _BEFORE_MS + 1000 * len(utterance.sound) / MICROPHONE_RATE

    async def send(sound: np.ndarray) -> None:
        noisy = sound + rng.normal(0, _NOISE_RMS, len(sound))
        await socket.send(np.clip(noisy, -32768, 32767).astype("<i2").tobytes())

    async with connect(url, max_size=None, compression=None) as socket, asyncio.timeout(_LIMIT_S):
        await socket.send(json.dumps({"type": "start", "sample_rate": MICROPHONE_RATE, "eagerness": "low"}))
        stopped = asyncio.create_task(_until_stopped(socket, ended_ms - 400))
        await send(np.concatenate([_silence(_BEFORE_MS), utterance.sound, _silence(_AT_ONCE_MS)]))
        while not stopped.done():
            await asyncio.wait((stopped,), timeout=_TRICKLE_S)
            await send(_silence(_TRICKLE_MS))
        at_ms, probability = await stopped
    return Judged(utterance, at_ms - ended_ms, probability)


async def _speak_all(url: str, said: Sequence[Utterance]) -> list[Judged]:
    places = asyncio.Semaphore(TALKERS)

    async def one(number: int) -> Judged:
        async with places:
            return await _speak(url, said[number], number)

    return await asyncio.gather(*map(one, range(len(said))))


def _figures(name: str, judged: Sequence[Judged], silence_ms: Callable[[Judged], float]) -> list[Figure]:
    """Of one way of ending turns."""
    waits = [one.wait_ms(silence_ms(one)) for one in judged if one.utterance.kind == "whole"]
    beginnings = [one for one in judged if one.utterance.kind != "whole"]
    cut_in = [one for one in beginnings if one.wait_ms(silence_ms(one)) <= one.utterance.pause_ms]
    spoken = Counter(f"{one.utterance.kind}, {one.utterance.voice}" for one in beginnings)
    cut = Counter(f"{one.utterance.kind}, {one.utterance.voice}" for one in cut_in)
    kinds = [f"{kind} {cut[kind]} of {count}" for kind, count in sorted(spoken.items())]
    return [
        Figure(f"{name}: cut in", 100 * len(cut_in) / len(beginnings), "%", "; ".join(kinds)),
        Figure(f"{name}: mean wait", statistics.mean(waits), "ms", f"of {len(waits)} whole sentences"),
        Figure(f"{name}: median wait", statistics.median(waits), "ms"),
        Figure(f"{name}: 95 % wait at most", percentile(waits, 0.95), "ms"),
    ]


def run(sentences: int, flags: tuple[str, ...]) -> Report:
    """Every way of ending turns, on the first `sentences` sentences, each whole and as a beginning."""
    said = list(utterances(sentences))
    with server(*_SHORT_ANSWERS, *flags) as running:
        judged = asyncio.run(_speak_all(running.url, said))
    figures = []
    for silence in SILENCES_MS:
        figures += _figures(f"silence {silence} ms", judged, lambda _, silence=silence: silence)  # type: ignore[misc]
    for eagerness, waits in WAITS.items():

        def asked(one: Judged, waits: Waits = waits) -> float:
            asked_ms = 500 if one.probability is None else waits.silence_ms(one.probability)
            return max(PAUSE_MS + HEARING_MS, asked_ms)

        figures += _figures(f"eagerness {eagerness}", judged, asked)
    unjudged = sum(one.probability is None for one in judged)
    figures.append(Figure("utterances that were not judged", unjudged, "", f"of {len(judged)}: 500 ms of silence"))
    low, high = PAUSE_LIMITS_MS
    workload = (
        f"{len(said) // 2} whole sentences, and as many beginnings (cut: the sentence's own sound up to a word's end; "
        f"hesitating: spoken so, with a comma or um) before a pause of {PAUSE_MEDIAN_MS} ms (median; {low} to {high}); "
        f"hearing and judging taken as {HEARING_MS} ms"
    )
    return Report("turns", workload, figures)
