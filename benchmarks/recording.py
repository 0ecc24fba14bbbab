"""Makes the documentation's pictures of the page: `python -m benchmarks.recording docs/images`.

- `page-first.png`: the page in light mode, before the first word;
- `page.png`: dark mode, while an answer is spoken after another one was interrupted;
- `talk.webp`: an animated picture of the whole conversation.

A server of its own, a headless Chromium, and a fake microphone that plays questions: one question, a request for a
story, and a question that interrupts the story. The answers are the model's. Needs a Chromium (`apt-get install
chromium`) and an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import sys
import tempfile
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.async_api import CDPSession, Page, TimeoutError, async_playwright

from benchmarks.browser import FLAGS, NoBrowserError, chromium
from benchmarks.questions import MICROPHONE_RATE, spoken
from benchmarks.server_process import server

TALK = (
    (1.0, "What is the capital of France?"),
    (6.0, "Tell me a story about the sea."),
    (13.0, "How big is a blue whale?"),
)
"""When it is asked, seconds since the microphone opened, and what."""
LARGEST_BYTES = 1 << 20
"""Of a picture."""
_SIZES = ((960, 80), (960, 60), (960, 40), (840, 50), (720, 50), (720, 40), (640, 40), (640, 30))
"""Widths in pixels and qualities of the animated picture; the first that is small enough is taken."""
_AFTER_AN_INTERRUPTION = "body[data-state=speaking] #turns .unsaid"
_INTO_THE_ANSWER_MS = 900


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


STILL = Look(width=1440, height=900, scheme="dark", frames_per_s=0, seconds=25)
"""Of the pictures that do not move."""


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


@asynccontextmanager
async def _page(url: str, microphone: Path, look: Look) -> AsyncIterator[Page]:
    """The page in a browser of its own, before the conversation."""
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
        yield page
        await browser.close()


async def record(url: str, microphone: Path, look: Look) -> tuple[list[Frame], str]:
    """Talk to the page → what was seen, and the words that stand on it at the end."""
    async with _page(url, microphone, look) as page:
        frames = await _watch(page, await page.context.new_cdp_session(page), look)
        return frames, await page.inner_text("#turns")


async def photograph(url: str, microphone: Path, folder: Path) -> list[Path]:
    """Write `page-first.png` and `page.png` → their paths. Raises `RecordingError` where no answer is interrupted."""
    first, during = folder / "page-first.png", folder / "page.png"
    async with _page(url, microphone, STILL) as page:
        await page.emulate_media(color_scheme="light")
        await page.wait_for_timeout(1000)
        await page.screenshot(path=first)
        await page.emulate_media(color_scheme="dark")
        await page.click("#start")
        try:
            await page.wait_for_selector(_AFTER_AN_INTERRUPTION, timeout=1000 * STILL.seconds)
        except TimeoutError as error:
            words = await page.inner_text("#turns")
            raise RecordingError(f"no answer was spoken after an interrupted one; the page has:\n{words}") from error
        await page.wait_for_timeout(_INTO_THE_ANSWER_MS)
        await page.screenshot(path=during)
    return [first, during]


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
    """An animated WebP below `LARGEST_BYTES`, at the best size and quality that fits."""
    ends = [frame.at_s for frame in frames[1:]] + [frames[0].at_s + look.seconds]
    durations = [max(20, round(1000 * (end - frame.at_s))) for frame, end in zip(frames, ends, strict=True)]
    for width, quality in _SIZES:
        size = (width, look.height * width // look.width)
        pictures = [frame.picture.convert("RGB").resize(size) for frame in frames]
        pictures[0].save(
            out, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=quality, method=4
        )
        if out.stat().st_size <= LARGEST_BYTES:
            return
    raise RecordingError(f"{out} has {out.stat().st_size:,} bytes: lower --frames-per-s or --seconds")


def main(arguments: list[str] | None = None) -> int:
    """The command → its exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recording", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures are written")
    parser.add_argument("--model", help="that answers (default: $OMNI_MODEL, else auto)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the talk (default: 20)")
    parser.add_argument("--frames-per-s", type=float, default=4.0, help="at most (default: 4)")
    parser.add_argument("--width", type=int, default=960, metavar="PIXELS", help="(default: 960)")
    parser.add_argument("--height", type=int, default=680, metavar="PIXELS", help="(default: 680)")
    parser.add_argument("--scheme", choices=["light", "dark"], default="dark", help="(default: dark)")
    given = parser.parse_args(arguments)
    look = Look(given.width, given.height, given.scheme, given.frames_per_s, given.seconds)
    talk: Path = given.folder / "talk.webp"
    flags = ("--model", given.model) if given.model else ()
    with tempfile.TemporaryDirectory() as scratch, server(*flags) as running:
        microphone, url = Path(scratch) / "microphone.wav", f"http://localhost:{running.port}/"
        write_microphone(microphone, look.seconds)
        try:
            written = asyncio.run(photograph(url, microphone, given.folder))
            frames, words = asyncio.run(record(url, microphone, look))
            write(frames, look, talk)
        except (RecordingError, NoBrowserError) as error:
            print(f"python -m benchmarks.recording: {error}", file=sys.stderr)
            return 1
        print(f"{running.model}, {len(frames)} frames")
    for path in (*written, talk):
        print(f"{path}: {path.stat().st_size:,} bytes")
    print(words)
    return 0


if __name__ == "__main__":
    sys.exit(main())
