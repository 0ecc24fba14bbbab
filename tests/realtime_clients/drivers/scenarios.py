"""What every client is put through, and how a driver reports it. Runs in the clients' own environment: no project code.

A driver is a program: `python -m tests.realtime_clients.drivers.NAME URL SOUNDS OUT`. It runs each scenario in a
connection of its own and writes `OUT/report.json`; the answers' sound goes beside it. `scenarios.mjs` is the same for
Node.
"""

from __future__ import annotations

import asyncio
import json
import sys
import traceback
import wave
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

SAMPLE_RATE = 24_000
LONG_QUESTION = "Why is the sky blue?"
PLAYED_S = 1.0
ENOUGH_BYTES = 2 * SAMPLE_RATE * 2
"""Of an answer that is going to be interrupted: a loudspeaker has enough to play."""
TIMEOUT_S = 150
"""Of a whole scenario, on a machine that does other things as well."""


@dataclass
class Turn:
    """One answer as the client's own interface told it to its user."""

    said: str = ""
    heard: str | None = None
    """What the client showed of the question, when that was spoken."""
    sound: bytearray = field(default_factory=bytearray)
    """PCM16, 24 kHz."""
    cut: bool = False
    """The client told its user to stop playing."""
    item_id: str = ""


PUSH_TO_TALK = ("pushed", "remembering")
"""Scenarios in which the client says where a turn ends."""


class Talk(Protocol):
    """One connection of a client."""

    errors: list[str]
    """Whatever the client called an error."""

    async def type(self, text: str) -> None:
        """Ask in writing."""

    async def speak(self, sound: bytes) -> None:
        """Into an open microphone: the server finds the turn."""

    async def push(self, sound: bytes) -> None:
        """Push-to-talk: speak, then let go of the button."""

    async def playing(self, seconds: float) -> None:
        """Until an answer has been played for so long."""

    async def answer(self) -> Turn:
        """The next answer, once it has ended."""

    async def remembered(self, turn: Turn) -> str:
        """What the server keeps of a cut answer."""


Open = Callable[[str, bool], AbstractAsyncContextManager[Talk]]
"""(URL of the server, with push-to-talk) → a connection."""


@dataclass
class Sounds:
    """Spoken questions, PCM16, 24 kHz."""

    folder: Path

    def __getitem__(self, name: str) -> bytes:
        with wave.open(str(self.folder / f"{name}.wav")) as file:
            return file.readframes(file.getnframes())


async def spoken(talk: Talk, sounds: Sounds) -> dict[str, Any]:
    """A spoken question; the server finds its end."""
    await talk.speak(sounds["question"])
    return {"turns": [await talk.answer()]}


async def typed(talk: Talk, sounds: Sounds) -> dict[str, Any]:
    """A typed question."""
    await talk.type("What is the capital of France?")
    return {"turns": [await talk.answer()]}


async def pushed(talk: Talk, sounds: Sounds) -> dict[str, Any]:
    """A spoken question, held down by a button."""
    await talk.push(sounds["question"])
    return {"turns": [await talk.answer()]}


async def remembering(talk: Talk, sounds: Sounds) -> dict[str, Any]:
    """Three turns, typed, spoken and typed; the last asks about the first."""
    await talk.type("I have a dog called Max.")
    turns = [await talk.answer()]
    await talk.push(sounds["question"])
    turns.append(await talk.answer())
    await talk.type("What is my dog called?")
    turns.append(await talk.answer())
    return {"turns": turns}


async def interrupted(talk: Talk, sounds: Sounds) -> dict[str, Any]:
    """Somebody speaks while a long answer is played."""
    await talk.type(LONG_QUESTION)
    await talk.playing(PLAYED_S)
    await talk.speak(sounds["question"])
    cut, answer = await talk.answer(), await talk.answer()
    return {"turns": [cut, answer], "remembered": await talk.remembered(cut)}


SCENARIOS: dict[str, Callable[[Talk, Sounds], Awaitable[dict[str, Any]]]] = {
    "spoken": spoken,
    "typed": typed,
    "pushed": pushed,
    "remembering": remembering,
    "interrupted": interrupted,
}


def main(open_talk: Open) -> None:
    """Run the scenarios that are named, or all."""
    url, sounds, out, *names = sys.argv[1:]
    asyncio.run(_run(open_talk, url, Sounds(Path(sounds)), Path(out), names or list(SCENARIOS)))


async def _run(open_talk: Open, url: str, sounds: Sounds, out: Path, names: list[str]) -> None:
    report: dict[str, Any] = {}
    for name in names:
        errors: list[str] = []
        try:
            async with asyncio.timeout(TIMEOUT_S), open_talk(url, name in PUSH_TO_TALK) as talk:
                errors = talk.errors
                result = await SCENARIOS[name](talk, sounds)
            report[name] = {**result, "turns": [_write(turn, out / f"{name}-{n}.wav") for n, turn in _count(result)]}
        except Exception:  # noqa: BLE001 (told, so that the other scenarios run)
            report[name] = {"failure": traceback.format_exc()}
        report[name]["errors"] = errors
    (out / "report.json").write_text(json.dumps(report, indent=1))


def _count(result: dict[str, Any]) -> list[tuple[int, Turn]]:
    return list(enumerate(result["turns"]))


def _write(turn: Turn, path: Path) -> dict[str, Any]:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(bytes(turn.sound))
    return {"said": turn.said, "heard": turn.heard, "cut": turn.cut, "sound": path.name}


def pieces(sound: bytes, milliseconds: int = 100) -> list[bytes]:
    """PCM16 as a microphone gives it, with a second of silence at its end."""
    size = 2 * SAMPLE_RATE * milliseconds // 1000
    sound += bytes(2 * SAMPLE_RATE)
    return [sound[start : start + size] for start in range(0, len(sound), size)]
