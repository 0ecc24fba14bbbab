"""Choices hold and are kept; the conversation can be taken along."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hibari import Hibari
from playwright.sync_api import Page

from tests.page.conftest import QUESTION, SHORT_ANSWER, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import WIRE, ask, sent, until, wait_loud, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator


def choose(page: Page, range_id: str, value: int) -> None:
    """Move a slider as a person does: both events."""
    page.locator(f"#{range_id}").fill(str(value))
    page.dispatch_event(f"#{range_id}", "change")


def test_choices_are_kept_and_reach_the_server(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url, init_script=WIRE)
    page.click("#open-settings")
    page.select_option("#eagerness", "off")
    choose(page, "silence", 900)
    choose(page, "volume", 40)
    page.select_option("#speed", "0.75")
    page.select_option("#persona", "own")
    page.fill("#own-prompt", "You are a pirate.")
    page.keyboard.press("Escape")
    page.reload()
    page.click("#open-settings")
    assert page.input_value("#silence") == "900"
    assert page.inner_text("#silence-shown") == "0.9 s"
    assert page.input_value("#volume") == "40"
    assert page.input_value("#own-prompt") == "You are a pirate."
    assert page.input_value("#speed") == "0.75"
    page.click("#settings button[value=done]")
    ask(page, "Who are you?")
    wait_state(page, "speaking")
    assert (generator.requests[-1].system_prompt, generator.requests[-1].speed) == ("You are a pirate.", 0.75)
    assert sent(page, "start")[0]["end_silence_ms"] == 900

    page.click("#open-settings")  # and in the middle of a conversation, from the next turn on
    page.select_option("#persona", "brief")
    page.keyboard.press("Escape")
    ask(page, "And now?")
    page.wait_for_selector(".turn:nth-of-type(2) .said:not(:empty)")
    assert generator.requests[-1].system_prompt == "You are a voice assistant. Answer in one short sentence."
    assert [turn.user for turn in generator.requests[-1].history] == ["Who are you?"]


@pytest.mark.parametrize(
    "stored", ["not JSON", "[1]", '{"volume": 7, "persona": "nobody", "silenceMs": "long", "speed": 9}']
)
def test_spoiled_storage_does_no_harm(silent_browser: Browser, server: LiveServer, visit: Visit, stored: str) -> None:
    page = visit.open(silent_browser, server.url)
    page.evaluate("text => localStorage.setItem('mini-omni.settings', text)", stored)
    page.reload()
    page.click("#open-settings")
    assert page.input_value("#volume") == "90"
    assert page.input_value("#persona") == "friendly"
    assert page.input_value("#speed") == "1"
    assert page.input_value("#silence") == "500"


def test_the_volume_is_heard(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    """Measured behind the volume control, at the very end of the chain."""
    tap = """const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...more) {
      if (to instanceof AudioDestinationNode) {
        window.tap = new AnalyserNode(this.context, { fftSize: 8192 });
        connect.call(this, window.tap);
        window.loudness = () => {
          const samples = new Float32Array(8192);
          window.tap.getFloatTimeDomainData(samples);
          return Math.hypot(...samples) / Math.sqrt(8192);
        };
      }
      return connect.call(this, to, ...more);
    };"""
    generator.sound = (0.3 * np.sin(2 * np.pi * 300 * np.arange(240_000) / 24_000)).astype(np.float32)
    page = visit.open(silent_browser, server.url, init_script=tap)
    ask(page, "Hum.")
    until(page, "window.loudness?.() > 0.15")
    page.click("#open-settings")
    choose(page, "volume", 20)
    until(page, "window.loudness() < 0.02 && window.loudness() > 0")


def test_microphones_are_listed_and_can_be_chosen(
    launch: Launcher, write_microphone: Callable[..., Path], server: LiveServer, visit: Visit
) -> None:
    browser = launch(write_microphone(seconds=5))
    page = visit.open(browser, server.url)
    page.click("#start")
    wait_state(page, "listening")
    page.click("#open-settings")
    page.wait_for_selector("#device option:nth-child(2)", state="attached")
    name = page.locator("#device option").nth(1).inner_text()
    page.select_option("#device", index=1)
    until(page, "JSON.parse(localStorage.getItem('mini-omni.settings')).deviceId !== ''")
    wait_state(page, "listening")
    assert name != ""
    browser.close()


def test_the_conversation_can_be_saved_as_text_and_sound(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    brief: ScriptedGenerator,
    visit: Visit,
    tmp_path: Path,
) -> None:
    question = voice(QUESTION, seed=0)
    browser = launch(write_microphone((1.0, question)))
    page = visit.open(browser, server.url)
    assert page.is_disabled("#open-save")
    page.click("#start")
    wait_loud(page)
    page.wait_for_selector("body[data-playback=finished]")
    page.click("#open-save")
    text = browser.download(page, "#save-text", tmp_path)
    sound = browser.download(page, "#save-sound", tmp_path)
    assert re.fullmatch(r"mini-omni-\d{8}-\d{4}\.txt", text.name)
    assert sound.suffix == ".wav"
    _, you, assistant = text.read_text().strip().split("\n\n")
    assert (you, assistant) == (f"You: {QUESTION}", f"Mini-Omni: {SHORT_ANSWER}")

    samples, rate = soundfile.read(sound)
    assert rate == 24_000
    answer = brief.sound
    gap = int(0.35 * rate)
    np.testing.assert_allclose(samples[-gap - len(answer) : -gap], answer, atol=1e-4)
    heard = samples[: -2 * gap - len(answer)]
    assert len(question) / rate < len(heard) / rate < len(question) / rate + 2
    assert np.sqrt(np.mean(heard**2)) > 0.01
    browser.close()
