"""Headless browsers whose microphone is a file, and a real server with scripted answers."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hibari import Hibari
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, sync_playwright

from tests.page.engines import ENGINES, INSECURE_HOST, Browser, Launcher, on_secure_pages
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

QUESTION = "What is your name?"
INTERJECTION = "Tell me something about the sea."
ANSWER = (
    "My name is Mini-Omni, and I am happy to meet you. "
    "I can hear you, think about it, and answer in my own voice while I am still thinking."
)
SHORT_ANSWER = "It is blue and wide."
RATE = 24_000
NOISE = (
    "can’t establish a connection to the server at ws://",  # Firefox's words for a refused socket
    "was interrupted while the page was loading",
    "the server responded with a status of 503",  # asked for its models while it loads them
)


@pytest.fixture(scope="session")
def voice() -> Hibari:
    return Hibari(threads=1)


@pytest.fixture(scope="session")
def answer_sound(voice: Hibari) -> np.ndarray:
    """(samples,) float32, 24 kHz: about 9 s."""
    return voice(ANSWER, seed=0)


@pytest.fixture(scope="session")
def write_microphone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Lay pieces of sound on a time line: `write_microphone((1.0, sound), (5.0, sound))` → a WAV of 24 kHz."""

    def write(*pieces: tuple[float, np.ndarray], seconds: float = 40.0) -> Path:
        samples = np.zeros(int(seconds * RATE), np.float32)
        for at_s, sound in pieces:
            begin = int(at_s * RATE)
            samples[begin : begin + len(sound)] = sound
        path = tmp_path_factory.mktemp("microphone") / "microphone.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        return path

    return write


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """For one file at a time: while it runs, this thread has an event loop, and no asyncio test could start one."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module", params=ENGINES)
def launch(
    request: pytest.FixtureRequest, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launcher]:
    """Starts a browser, each test in every engine: with this WAV as its microphone, or without any."""
    launcher = Launcher(request.param, playwright, tmp_path_factory.mktemp(request.param))
    yield launcher
    launcher.close()


@pytest.fixture(scope="module")
def silent_browser(launch: Launcher) -> Iterator[Browser]:
    """One without a microphone."""
    browser = launch()
    yield browser
    browser.close()


@pytest.fixture
def generator(answer_sound: np.ndarray) -> ScriptedGenerator:
    return ScriptedGenerator(ANSWER, answer_sound, heard=QUESTION, think_s=0.1, chunk_s=0.005)


@pytest.fixture
def brief(generator: ScriptedGenerator, voice: Hibari) -> ScriptedGenerator:
    """The same generator, with a short answer: for tests that hear it to its end."""
    generator.words, generator.sound = SHORT_ANSWER, voice(SHORT_ANSWER, seed=0)
    return generator


@pytest.fixture
def server(generator: ScriptedGenerator) -> Iterator[LiveServer]:
    with LiveServer(generator, allowed_hosts=INSECURE_HOST) as running:
        yield running


class Visit:
    """Opens pages, and holds whatever they complain about."""

    def __init__(self) -> None:
        self.contexts: list[BrowserContext] = []
        self.complaints: list[str] = []
        self.expected = ["ERR_CONNECTION_REFUSED", *NOISE]

    def open(self, browser: Browser, url: str, init_script: str = "", **context: object) -> Page:
        made = browser.new_context(**context)
        self.contexts.append(made)
        if init_script:
            made.add_init_script(on_secure_pages(init_script))
        page = made.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._console)
        page.goto(url)
        page.wait_for_selector("#volume-shown:not(:empty)", state="attached")  # the modules have run
        return page

    def expect(self, *parts: str) -> None:
        """Complaints with these words are what a test is about."""
        self.expected += parts

    def _console(self, message: ConsoleMessage) -> None:
        # A refused socket is logged by the browser itself; whether the page copes is what the tests look at.
        if message.type in ("error", "warning") and "WebSocket connection" not in message.text:
            self.complaints.append(message.text)


@pytest.fixture
def visit() -> Iterator[Visit]:
    """No page may leave an error in the console: a script that fails, a missing file, a broken security policy."""
    visits = Visit()
    yield visits
    for context in visits.contexts:
        context.close()
    assert [text for text in visits.complaints if not any(part in text for part in visits.expected)] == []
