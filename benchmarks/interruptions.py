"""Is it startled by its own voice, a cough or music, and does it stop for words? Answers play in a simulated room."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks import sounds
from benchmarks.conversation import CHUNK_MS, TurnFailed
from benchmarks.questions import MICROPHONE_RATE
from benchmarks.report import Figure, Report, median, percentile
from benchmarks.room import STEP, Room
from benchmarks.server_process import server

LONG_ANSWERS = ("--max-answer-sentences", "20", "--max-answer-tokens", "400", "--max-answer-s", "40")
REQUESTS = (
    "Tell me a long story about a dragon and a princess.",
    "Tell me about the history of Rome.",
    "How do I bake bread? Explain every step.",
    "What are the planets like? Tell me about each of them.",
    "Describe a day in the life of a sailor.",
    "Explain how a forest changes through the year.",
)
ECHO_DB = (-20.0, -12.0, -6.0)
DELAYS_MS = (50, 150, 300)
_REPORT_STEPS = 5
"""The position is reported every 200 ms."""
_REST_S = 0.4
"""Between an answer's end and the next request."""
_BEFORE_S = (1.6, 2.3, 3.1)
"""Sound of an answer before somebody makes a noise."""
_DECIDED_S = 8.0
"""By then an interruption has an answer, or the answer that was interrupted goes on."""


@dataclass(frozen=True)
class Noise:
    """Something to be heard while an answer is played."""

    kind: str
    sound: np.ndarray
    """(n,) float32, 16 kHz."""


@dataclass
class Outcome:
    """What came of one noise. Milliseconds from its onset."""

    kind: str
    stopped_ms: float | None = None
    resumed_ms: float | None = None
    answered: bool = False
    """A new answer began."""


@dataclass
class Heard:
    """What was noted in one conversation."""

    speaking_s: float = 0.0
    stopped: int = 0
    """Interruptions by speech when nobody spoke."""
    resumed: int = 0
    """Of these, those after which the answer went on."""
    outcomes: list[Outcome] = field(default_factory=list)


class Listener:
    """Asks for long answers, plays them in a room whose microphone it sends, and makes noises meanwhile."""

    def __init__(self, socket: ClientConnection, room: Room, noises: Iterator[Noise], first_request: int) -> None:
        self.heard = Heard()
        self._socket, self._room, self._noises = socket, room, noises
        self._requests = itertools.cycle(REQUESTS[first_request:] + REQUESTS[:first_request])
        self._response_id: int | None = None
        self._ended_at: float | None = 0.0
        """When there was nothing more to play; None while there is."""
        self._complete = True
        self._noise: Outcome | None = None
        self._onset_at = 0.0
        self._sounding = np.zeros(0, np.float32)
        self._wait_s: float | None = None
        self._pauses = itertools.cycle(_BEFORE_S)

    async def run(self, seconds: float | None) -> Heard:
        """Until so many seconds of answers were played, or no noise is left."""
        await self._send(type="start", sample_rate=MICROPHONE_RATE, history=[])
        reader = asyncio.create_task(self._read())
        due = time.monotonic()
        try:
            for number in itertools.count():
                if reader.done():
                    reader.result()
                if seconds is not None and self.heard.speaking_s >= seconds:
                    break
                if not await self._step(due, number) and seconds is None:
                    break
                due += CHUNK_MS / 1000
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        return self.heard

    async def _step(self, due: float, number: int) -> bool:
        """40 ms that end at `due`; False when all is over."""
        speaking = self._room.speaking
        microphone = self._room.step()
        if speaking:
            self.heard.speaking_s += CHUNK_MS / 1000
            if number % _REPORT_STEPS == 0:
                await self._report()
        await self._next(speaking, due)
        if self._noise is None and speaking and self._wait_s is not None:
            self._wait_s -= CHUNK_MS / 1000
            if self._wait_s <= 0:
                self._make_noise(due)
        piece, self._sounding = self._sounding[:STEP], self._sounding[STEP:]
        microphone[: len(piece)] += piece
        pcm = (np.clip(microphone, -1, 1) * 32767).astype("<i2")
        await self._socket.send(pcm.tobytes())
        return self._noise is not None or self._wait_s is not None

    async def _next(self, speaking: bool, now: float) -> None:
        """Ask when an answer is over; look what became of a noise."""
        if self._noise is not None and now - self._onset_at > _DECIDED_S:
            self.heard.outcomes.append(self._noise)
            self._noise = None
            if not speaking:
                await self._send(type="interrupt")
            self._plan()
        if speaking or not self._complete or self._noise is not None:
            self._ended_at = None
            return
        if self._ended_at is None:
            self._ended_at = now
            await self._report()
        elif now - self._ended_at >= _REST_S:
            self._complete, self._ended_at = False, None
            await self._send(type="text", text=next(self._requests))
            self._plan()

    def _plan(self) -> None:
        if self._noise is None:
            self._wait_s = next(self._pauses)

    def _make_noise(self, due: float) -> None:
        noise = next(self._noises, None)
        self._wait_s = None
        if noise is None:
            return
        self._sounding, self._noise = noise.sound, Outcome(noise.kind)
        self._onset_at = due + (sounds.onset(noise.sound) - STEP) / MICROPHONE_RATE

    async def _send(self, **message: Any) -> None:
        await self._socket.send(json.dumps(message))

    async def _report(self) -> None:
        if self._response_id is not None:
            played = round(self._room.position_ms)
            await self._send(type="playback", played_ms=played, response_id=self._response_id)

    async def _read(self) -> None:
        while True:
            message = await self._socket.recv()
            if isinstance(message, bytes):
                self._room.receive(message)
            else:
                await self._take(json.loads(message))

    async def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "response_started":
                self._response_id, self._complete = message["response_id"], False
                self._room.drop(0.0)
                if self._noise is not None and self._noise.stopped_ms is not None:
                    self._noise.answered = True
            case "response_done":
                self._complete = self._complete or message["response_id"] == self._response_id
            case "interrupted":
                self._room.drop()
                await self._report()
                if message["reason"] == "speech":
                    self._note_stop()
            case "resumed":
                self._room.drop(message["played_ms"])
                if self._noise is None:
                    self.heard.resumed += 1
                elif self._noise.resumed_ms is None:
                    self._noise.resumed_ms = self._since_onset()
            case "error":
                raise TurnFailed(message["message"])

    def _note_stop(self) -> None:
        if self._noise is None:
            self.heard.stopped += 1
        elif self._noise.stopped_ms is None:
            self._noise.stopped_ms = self._since_onset()

    def _since_onset(self) -> float:
        return 1000 * (time.monotonic() - self._onset_at)


@dataclass(frozen=True)
class Scene:
    """One conversation in one room."""

    echo_db: float | None
    delay_ms: float
    seconds: float | None
    """Of answers; None: as many as the noises need."""
    noises: Sequence[Noise] = ()


async def _play(url: str, scene: Scene, number: int) -> Heard:
    room = Room(scene.echo_db, scene.delay_ms, seed=number)
    noises = iter(scene.noises) if scene.seconds is None else iter(())
    async with connect(url, max_size=None, compression=None) as socket:
        return await Listener(socket, room, noises, number % len(REQUESTS)).run(scene.seconds)


async def _play_all(url: str, scenes: Sequence[Scene], at_once: int) -> list[Heard]:
    places = asyncio.Semaphore(at_once)

    async def one(number: int, scene: Scene) -> Heard:
        async with places:
            return await _play(url, scene, number)

    return list(await asyncio.gather(*(one(number, scene) for number, scene in enumerate(scenes))))


def _echo_scenes(minutes: float) -> list[Scene]:
    return [Scene(db, delay, 60 * minutes / len(DELAYS_MS)) for db in ECHO_DB for delay in DELAYS_MS]


def _noise_scenes() -> list[Scene]:
    every = {
        "cough": sounds.coughs(),
        "mm-hm": sounds.backchannels(),
        "keyboard": sounds.typing(),
        "music": sounds.music(),
    }
    return [
        Scene(db, 150, None, [Noise(kind, sound) for sound in every[kind]]) for kind in every for db in (None, -12.0)
    ]


def _speech_scenes() -> list[Scene]:
    said = sounds.interruptions()
    return [
        Scene(echo, delay, None, [Noise(_speech_kind(echo, level), sound * 10 ** (level / 20)) for sound in said])
        for echo, delay, level in (
            (None, 150, 0),
            (-20, 50, 0),
            (-12, 150, 0),
            (-12, 300, 6),
            (-12, 50, -6),
            (-6, 150, 0),
        )
    ]


def _speech_kind(echo_db: float | None, level_db: float) -> str:
    return f"words at {level_db:+g} dB, {'no echo' if echo_db is None else f'echo {echo_db:g} dB'}"


def run(minutes: float, at_once: int, flags: tuple[str, ...]) -> Report:
    """Let answers be played for `minutes` at each level of echo, then with noises, then with words."""
    echoes, noises, speech = _echo_scenes(minutes), _noise_scenes(), _speech_scenes()
    with server(*LONG_ANSWERS, *flags) as running:
        heard = asyncio.run(_play_all(running.url, [*echoes, *noises, *speech], at_once))
    of_echo, rest = heard[: len(echoes)], heard[len(echoes) :]
    figures = list(itertools.chain(_echo_figures(echoes, of_echo), _noise_figures(rest[: len(noises)], noises)))
    figures += _speech_figures(rest[len(noises) :])
    with_flags = f" ({' '.join(flags)})" if flags else ""
    return Report("interruptions", f"long answers over /ws in a simulated room{with_flags}", figures)


def _echo_figures(scenes: Sequence[Scene], heard: Sequence[Heard]) -> Iterator[Figure]:
    for db in ECHO_DB:
        those = [one for scene, one in zip(scenes, heard, strict=True) if scene.echo_db == db]
        seconds, stopped = sum(one.speaking_s for one in those), sum(one.stopped for one in those)
        note = f"{stopped} in {seconds / 60:.1f} min of speaking; {sum(one.resumed for one in those)} went on"
        yield Figure(f"echo at {db:g} dB: stopped by nobody", 3600 * stopped / seconds, "an hour", note)


def _noise_figures(heard: Sequence[Heard], scenes: Sequence[Scene]) -> Iterator[Figure]:
    for scene, one in zip(scenes, heard, strict=True):
        outcomes = one.outcomes
        stopped = [outcome for outcome in outcomes if outcome.stopped_ms is not None]
        resumed = [outcome for outcome in stopped if outcome.resumed_ms is not None and not outcome.answered]
        name = f"{scene.noises[0].kind}, {'no echo' if scene.echo_db is None else f'echo {scene.echo_db:g} dB'}"
        pauses = [outcome.resumed_ms - outcome.stopped_ms for outcome in resumed]  # type: ignore[operator]
        note = f"of {len(outcomes)}, {len(stopped)} stopped it, {len(resumed)} of these briefly"
        if pauses:
            note += f" ({median(pauses) / 1000:.1f} s)"
        yield Figure(f"{name}: answer given up", len(stopped) - len(resumed), "", note)


def _speech_figures(heard: Sequence[Heard]) -> list[Figure]:
    figures = []
    for one in heard:
        outcomes = one.outcomes
        delays = [outcome.stopped_ms for outcome in outcomes if outcome.stopped_ms is not None]
        answered = sum(outcome.answered for outcome in outcomes)
        note = f"{len(delays)} of {len(outcomes)} stopped it, {answered} were answered"
        with contextlib.suppress(ValueError, IndexError):
            figures.append(Figure(f"{outcomes[0].kind}: onset → stop, median", median(delays), "ms", note))
            figures.append(Figure("… 95th percentile", percentile(delays, 0.95), "ms"))
    return figures
