"""The page, the server and the embedded model together: spoken to by a file, heard at the loudspeaker."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hibari import Hibari
from playwright.sync_api import Page

from model.async_engine import AsyncEngine
from model.request import Event, Request
from tests.page.conftest import Visit
from tests.page.engines import Launcher
from tests.page.helpers import ask, played_samples, try_now, turn_text, wait_loud, wait_silent, wait_state
from tests.page.live import LiveServer

QUESTION = "What is the capital of France?"
INTERJECTION = "Please tell me a story about the sea."
PATIENCE_S = 120  # a busy machine may be slow; nothing here measures speed


class KeptEngine:
    """An engine that outlives the servers around it, so that a server can be restarted without loading it again."""

    def __init__(self) -> None:
        self.engine = AsyncEngine(max_slots=2, max_queue=4, threads=1)
        self.last_server = False
        self._started = False

    async def start(self) -> None:
        if not self._started:
            self._started = True
            await self.engine.start()

    async def stop(self) -> None:
        if self.last_server:
            await self.engine.stop()

    @property
    def name(self) -> str:
        return self.engine.name

    def generate(self, request: Request) -> AsyncIterator[Event]:
        return self.engine.generate(request)

    def prefill_ahead(self, request: Request) -> None:
        self.engine.prefill_ahead(request)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    """With the embedded model on one thread."""
    kept = KeptEngine()
    with LiveServer(kept, ready_timeout_s=PATIENCE_S) as running:
        running.wait_ready()
        yield running
        kept.last_server = True


class LateMicrophone:
    """Lays a second utterance into the microphone when it is wanted: the model's pace is not known beforehand."""

    SCRIPT = """window.prepare = (samples) => {
      const buffer = new AudioBuffer({ length: samples.length, sampleRate: 24000 });
      buffer.copyToChannel(Float32Array.from(samples), 0);
      window.source = new AudioBufferSourceNode(window.voice.context, { buffer });
      window.source.connect(window.voice);
    };
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const context = new AudioContext();
      window.voice = new MediaStreamAudioDestinationNode(context);
      context.createMediaStreamSource(await ask(wanted)).connect(window.voice);
      return window.voice.stream;
    };"""

    def __init__(self, page: Page, samples: np.ndarray) -> None:
        self._page = page
        page.evaluate("samples => window.prepare(samples)", samples.tolist())

    def speak(self) -> None:
        self._page.evaluate("window.source.start()")


def test_a_conversation_with_the_embedded_model(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    visit: Visit,
) -> None:
    browser = launch(write_microphone((2.0, voice(QUESTION, seed=0))))
    page = visit.open(browser, server.url, init_script=LateMicrophone.SCRIPT)
    page.set_default_timeout(PATIENCE_S * 1000)
    page.click("#start")
    wait_state(page, "listening", timeout_s=PATIENCE_S)

    wait_state(page, "speaking", timeout_s=PATIENCE_S)
    heard = re.sub(r"[^a-z ]", "", turn_text(page, 1, "you").lower())
    assert "capital of france" in heard
    wait_loud(page)
    page.wait_for_selector(".turn:nth-of-type(1) .said:not(:empty)")
    page.wait_for_selector(".turn:nth-of-type(1)[data-done=true]")
    answer = turn_text(page, 1, "assistant")
    assert "Paris" in answer
    assert page.get_attribute("body", "data-playback") == "finished"
    assert played_samples(page) > 0.02 * len(answer) * 24_000, "as long as speech of this text must be at least"

    interjection = LateMicrophone(page, voice(INTERJECTION, seed=0))
    ask(page, "Tell me a long story about a lighthouse.")
    page.wait_for_selector(".turn:nth-of-type(2) .said:not(:empty)")
    wait_loud(page)
    interjection.speak()
    page.wait_for_selector(".turn:nth-of-type(2).interrupted")
    wait_silent(page)
    page.wait_for_selector(".turn:nth-of-type(3) .you .text:not(:has(.dots))")
    assert "sea" in turn_text(page, 3, "you").lower()
    wait_loud(page)
    page.click("#interrupt")
    page.wait_for_selector(".turn:nth-of-type(3).interrupted")
    wait_silent(page)
    stopped_at = played_samples(page)

    server.stop()
    wait_state(page, "reconnecting")
    server.start()
    server.wait_ready()
    try_now(page)
    wait_state(page, "listening", timeout_s=PATIENCE_S)
    ask(page, "And what is the capital of Italy?")
    wait_state(page, "speaking", timeout_s=PATIENCE_S)
    wait_loud(page)
    assert played_samples(page) != stopped_at
    browser.close()
