"""Records a real talk with the page as an animated picture: `python -m benchmarks.recording docs/images/talk.webp`.

A server of its own with the embedded model, a headless Chromium, and a fake microphone that asks aloud: a question, a
request for a story, and a question that interrupts the story. Nothing is staged but what is asked. Needs a Chromium
(`apt-get install chromium`) and a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.async_api import CDPSession, Page, async_playwright

from benchmarks.browser import FLAGS, NoBrowserError, chromium
from benchmarks.questions import MICROPHONE_RATE, spoken
from benchmarks.server_process import server

TALK = (
    (1.0, "What is the capital of France?"),
    (6.0, "Tell me a story about the sea."),
    (13.0, "Thank you. Good bye!"),
)
"""When it is asked, seconds since the microphone opened, and what."""
LARGEST_BYTES = 3_000_000
_QUALITIES = (80, 65, 50, 40, 30)


class RecordingError(RuntimeError):
    """There is no recording; the message says what to change."""


@dataclass(frozen=True)
class Look:
    """How the page is seen."""

    width: int
    height: int
    scheme: str
    frames_per_s: float
    seconds: float


@dataclass(frozen=True)
class Frame:
    """What the page looked like from `at_s` on."""

    at_s: float
    picture: Image.Image


def write_microphone(path: Path, seconds: float) -> None:
    """The questions, each at its time, as a WAV file."""
    samples = np.zeros(int((seconds + 5) * MICROPHONE_RATE), np.int16)
    for at_s, text in TALK:
        question = spoken(text)
        begin = int(at_s * MICROPHONE_RATE)
        samples[begin : begin + len(question)] = question
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_RATE)
        file.writeframes(samples.tobytes())


async def record(url: str, microphone: Path, look: Look) -> tuple[list[Frame], str]:
    """Talk to the page → what was seen, and the words that stand on it at the end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=[*FLAGS, f"--use-file-for-fake-audio-capture={microphone}%noloop"]
        )
        context = await browser.new_context(
            viewport={"width": look.width, "height": look.height},
            color_scheme="dark" if look.scheme == "dark" else "light",
        )
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_selector("#start:visible")
        frames = await _watch(page, await context.new_cdp_session(page), look)
        words = await page.inner_text("#turns")
        await browser.close()
    return frames, words


async def _watch(page: Page, devtools: CDPSession, look: Look) -> list[Frame]:
    frames: list[Frame] = []
    acknowledged: set[asyncio.Task[Any]] = set()

    def seen(event: dict[str, Any]) -> None:
        at_s = float(event["metadata"]["timestamp"])
        if not frames or at_s - frames[-1].at_s >= 1 / look.frames_per_s - 0.005:
            frames.append(Frame(at_s, Image.open(io.BytesIO(base64.b64decode(event["data"])))))
        task = asyncio.ensure_future(devtools.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]}))
        acknowledged.add(task)
        task.add_done_callback(acknowledged.discard)

    devtools.on("Page.screencastFrame", seen)
    await devtools.send("Page.startScreencast", {"format": "jpeg", "quality": 90, "maxWidth": look.width})
    await page.click("#start")
    await asyncio.sleep(look.seconds)
    await devtools.send("Page.stopScreencast")
    return frames


def write(frames: list[Frame], look: Look, out: Path) -> None:
    """An animated WebP below `LARGEST_BYTES`, at the best quality that fits."""
    pictures = [frame.picture.convert("RGB") for frame in frames]
    ends = [frame.at_s for frame in frames[1:]] + [frames[0].at_s + look.seconds]
    durations = [max(20, round(1000 * (end - frame.at_s))) for frame, end in zip(frames, ends, strict=True)]
    for quality in _QUALITIES:
        pictures[0].save(
            out, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=quality, method=4
        )
        if out.stat().st_size <= LARGEST_BYTES:
            return
    raise RecordingError(f"{out} has {out.stat().st_size:,} bytes: lower --frames-per-s or --seconds")


def main(arguments: list[str] | None = None) -> int:
    """The command → its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("out", type=Path, help="an animated picture, .webp")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the talk (default: 20)")
    parser.add_argument("--frames-per-s", type=float, default=8.0, help="at most (default: 8)")
    parser.add_argument("--width", type=int, default=960, metavar="PIXELS", help="(default: 960)")
    parser.add_argument("--height", type=int, default=680, metavar="PIXELS", help="(default: 680)")
    parser.add_argument("--scheme", choices=["light", "dark"], default="dark", help="(default: dark)")
    given = parser.parse_args(arguments)
    look = Look(given.width, given.height, given.scheme, given.frames_per_s, given.seconds)
    with tempfile.TemporaryDirectory() as folder, server() as running:
        microphone = Path(folder) / "microphone.wav"
        write_microphone(microphone, look.seconds)
        try:
            frames, words = asyncio.run(record(f"http://localhost:{running.port}/", microphone, look))
            write(frames, look, given.out)
        except (RecordingError, NoBrowserError) as error:
            print(f"python -m benchmarks.recording: {error}", file=sys.stderr)
            return 1
    print(f"{given.out}: {given.out.stat().st_size:,} bytes, {len(frames)} frames\n{words}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
