"""`python -m client`: ask a running server, spoken or typed, and print what happens as JSON lines."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import re
import sys
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from client.omni_client import Audio, Error, Event, OmniClient, OmniClientError
from omni_command import called_as, find_time_zone, local_time_zone, version

RATES = range(8_000, 48_001)
LONGEST_S = 30
ANSWER_RATE = 24_000
DESCRIPTION = "Ask a running server, spoken or typed, and print what happens as JSON lines."
EPILOG = "Exit status: 0 answered, 1 refused or failed, 2 used wrongly; a sentence on standard error says why."


class UsageError(Exception):
    """What was asked of the command cannot be done; the message says what to change."""


def read_question(path: str) -> tuple[bytes, int]:
    """Any sound file → PCM16 mono, and its rate (Hz), brought into what the server takes."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise UsageError(f"{path} cannot be read as a sound file: {error}") from error
    mono = samples.mean(axis=1)
    if len(mono) > LONGEST_S * rate:
        raise UsageError(f"{path} lasts {len(mono) / rate:.1f} s; a question may last {LONGEST_S} s: cut it")
    if rate not in RATES:
        mono, rate = soxr.resample(mono, rate, 16_000), 16_000
    return (np.clip(mono, -1, 1) * 32767).astype("<i2").tobytes(), rate


def as_json(event: Event) -> str:
    """One line; sound is told by its length."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    values: dict[str, Any] = {"type": name, **dataclasses.asdict(event)}
    if isinstance(event, Audio):
        values["ms"] = round(len(values.pop("pcm")) / 2 / ANSWER_RATE * 1000)
    return json.dumps({key: value for key, value in values.items() if value is not None}, ensure_ascii=False)


class Answer:
    """The sound of all answers, for a WAV file at `path` (None: nowhere)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._pcm = bytearray()

    def add(self, event: Event) -> None:
        if isinstance(event, Audio):
            self._pcm += event.pcm

    def write(self) -> None:
        if self._path is None:
            return
        with wave.open(str(self._path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(ANSWER_RATE)
            file.writeframes(self._pcm)


async def ask_all(client: OmniClient, questions: list[tuple[bytes, int]], texts: list[str]) -> AsyncIterator[Event]:
    """Every question of the command line, in one conversation."""
    for pcm, rate in questions:
        async for event in client.ask(pcm, rate):
            yield event
    for text in texts:
        async for event in client.say(text):
            yield event


async def converse(options: argparse.Namespace) -> int:
    """Print every event → the exit status: 1 when there was an error."""
    settings: dict[str, Any] = {
        "model": options.model,
        "system_prompt": options.persona,
        "seed": options.seed,
        "speed": options.speed,
        "time_zone": options.time_zone.key if options.time_zone else local_time_zone(),
    }
    answer, status = Answer(options.out), 0
    questions = [read_question(path) for path in options.question]
    if options.mic:
        from client.microphone import SoundDevices, talk

        settings |= {"sample_rate": 16_000, "end_silence_ms": options.silence_ms}
        devices = SoundDevices()  # before connecting: it may be missing
    try:
        async with OmniClient(options.url, options.key, **settings) as client:
            async for event in talk(client, devices) if options.mic else ask_all(client, questions, options.text):
                print(as_json(event), flush=True)
                answer.add(event)
                if isinstance(event, Error):
                    status = 1
    finally:  # Ctrl-C ends a talk: what was answered until then is kept
        answer.write()
    return status


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(called_as("client"), description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"mini-omni {version()}")
    what = parser.add_argument_group("What to ask: one of these")
    what.add_argument("question", nargs="*", help="sound file of a spoken question, 30 s at most; several make a talk")
    what.add_argument(
        "--text", action="append", default=[], help="a typed question; may be given several times (default: none)"
    )
    what.add_argument("--mic", action="store_true", help="talk with microphone and loudspeaker, until Ctrl-C")
    whom = parser.add_argument_group("Whom")
    whom.add_argument("--url", default="ws://127.0.0.1:8000/ws", help="the server's WebSocket (default: %(default)s)")
    whom.add_argument(
        "--key", default=os.environ.get("OMNI_KEY"), help="for a server that wants one (default: $OMNI_KEY, or none)"
    )
    whom.add_argument("--model", metavar="NAME", help="one of the models that it has loaded (default: its first)")
    how = parser.add_argument_group("How")
    how.add_argument(
        "--out", type=Path, metavar="ANSWER.WAV", help="write the answers' sound here, 24 kHz mono (default: nowhere)"
    )
    how.add_argument("--persona", metavar="TEXT", help="system prompt: how to answer (default: the server's)")
    how.add_argument(
        "--silence-ms", type=int, default=500, metavar="MS",
        help="with --mic: pause that ends a turn, 200 to 3000 ms (default: %(default)s)",
    )  # fmt: skip
    how.add_argument(
        "--time-zone", type=find_time_zone, metavar="ZONE",
        help="IANA name, for questions about date and time (default: this machine's, where it has a name)",
    )  # fmt: skip
    how.add_argument("--speed", type=float, metavar="N", help="how fast it speaks, 0.5 to 1.25 (default: 1)")
    how.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answers (default: drawn anew)")
    options = parser.parse_args(arguments)
    if options.mic == bool(options.question or options.text):
        parser.error("give a sound file, --text, or --mic")
    return options


def main(arguments: list[str] | None = None) -> int:
    """The command → its exit status: 0 answered, 1 refused or failed, 2 used wrongly."""
    options = parse(arguments)
    try:
        return asyncio.run(converse(options))
    except KeyboardInterrupt:
        return 0
    except UsageError as error:
        print(f"{called_as('client')}: {error}", file=sys.stderr)
        return 2
    except OmniClientError as error:
        print(f"{called_as('client')}: {error}", file=sys.stderr)
    except OSError as error:
        print(
            f"{called_as('client')}: no server answers at {options.url} ({error}); "
            "start one: make serve, or omni-server",
            file=sys.stderr,
        )
    return 1


def run() -> None:
    """The command: `main`, then the end of the process."""
    sys.exit(main())


if __name__ == "__main__":
    run()
