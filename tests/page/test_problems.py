"""Whatever goes wrong is said in a calm sentence that tells what to do, and typing goes on working."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hibari import Hibari
from playwright.sync_api import Page
from websockets.sync.client import connect

from model.request import EngineFull, GenerationFailed
from tests.page.conftest import QUESTION, SHORT_ANSWER, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import ask, try_now, turn_text, until, wait_loud, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

REFUSE = """navigator.mediaDevices.getUserMedia = async () => {
  if (!window.allowed) throw new DOMException('', '%s');
  throw new DOMException('', 'NotReadableError');
};"""


def notice(page: Page, code: str) -> str:
    page.wait_for_selector(f"#notice[data-code={code}]")
    return page.inner_text("#notice")


def test_a_refused_microphone_can_be_allowed_later(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    page = visit.open(silent_browser, server.url, init_script=REFUSE % "NotAllowedError")
    page.click("#start")
    assert "Allow it for this page" in notice(page, "microphone_refused")
    assert page.get_attribute("#notice", "role") == "alert"
    page.evaluate("window.allowed = true")
    page.click(".notice-action")  # it is asked for again, and another sentence fits now
    assert "Another program" in notice(page, "microphone_taken")
    assert page.is_enabled("#start")


def test_without_a_microphone_one_can_type(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    page.click("#start")
    assert "Plug one in" in notice(page, "microphone_missing")
    ask(page, "Is it blue?")
    wait_loud(page)


def test_a_microphone_that_is_pulled_out_is_told(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    visit: Visit,
) -> None:
    keep = """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      const stream = await ask(wanted);
      stream.getAudioTracks()[0].addEventListener = (kind, told) => kind === 'ended' && (window.pullOut = told);
      return stream;
    };"""  # an event of a script's own does not reach the track in Firefox
    browser = launch(write_microphone((1.0, voice(QUESTION, seed=0))))
    page = visit.open(browser, server.url, init_script=keep)
    page.click("#start")
    wait_state(page, "listening")
    page.evaluate("window.pullOut()")
    assert "Plug it in again" in notice(page, "microphone_lost")
    wait_state(page, "waiting")
    page.click("#mute")  # "Use voice"
    wait_state(page, "listening", "hearing")
    assert page.is_hidden("#notice")
    browser.close()


def test_an_insecure_page_says_so_and_answers_in_writing(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    visit.expect("Cross-Origin-Opener-Policy header has been ignored")
    page = visit.open(silent_browser, f"http://plain.test:{server.port}/")
    assert "https" in notice(page, "insecure")
    page.click("#start")
    notice(page, "insecure")
    ask(page, "Is it blue?")
    page.wait_for_selector(".turn[data-done=true]")
    assert turn_text(page, 1, "assistant") == SHORT_ANSWER


def test_a_server_that_is_gone_when_one_begins(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    page = visit.open(silent_browser, server.url)
    server.stop()
    visit.expect("ERR_CONNECTION_REFUSED", "Failed to load")
    ask(page, "Is it blue?")
    assert "Check that it is running" in notice(page, "server_gone")
    server.start()
    try_now(page)
    wait_state(page, "speaking")
    wait_loud(page)
    assert turn_text(page, 1, "you") == "Is it blue?"


SLOW_HEALTH = """const fetched = window.fetch;
window.fetch = async (address, ...rest) => {
  if (!String(address).endsWith('health')) return fetched(address, ...rest);
  window.asked = true;
  await new Promise((resolve) => (window.go = resolve));
  try { return await fetched(address, ...rest); } finally { setTimeout(() => (window.found = true)); }
};"""


def test_a_conversation_that_was_ended_reports_no_lost_server(
    silent_browser: Browser, server: LiveServer, visit: Visit
) -> None:
    """It was lost before the end; whether the server is there at all is known only after it."""
    page = visit.open(silent_browser, server.url, init_script=SLOW_HEALTH)
    server.stop()
    visit.expect("ERR_CONNECTION_REFUSED", "Failed to load")
    ask(page, "Is it blue?")
    until(page, "window.asked === true")
    page.click("#end")
    wait_state(page, "ended")
    page.evaluate("window.go()")
    until(page, "window.found === true")
    assert page.is_hidden("#notice")


def test_a_full_house_is_told_and_tried_again(
    silent_browser: Browser, generator: ScriptedGenerator, visit: Visit
) -> None:
    with LiveServer(generator, max_sessions=1) as server:
        page = visit.open(silent_browser, server.url)
        with connect(server.ws_url) as other:
            other.send('{"type": "start"}')
            other.recv()
            ask(page, "Is it blue?")
            assert "All places are taken" in notice(page, "busy")
        try_now(page)
        wait_state(page, "speaking")
        assert page.is_hidden("#notice")


@pytest.mark.parametrize(
    ("failure", "code", "sentence"),
    [
        (EngineFull("full"), "full", "ask again in a moment"),
        (GenerationFailed("The answer broke off; ask again."), "generation_failed", "The answer broke off; ask again."),
    ],
)
def test_an_answer_that_fails_leaves_the_conversation_alive(
    silent_browser: Browser,
    server: LiveServer,
    generator: ScriptedGenerator,
    visit: Visit,
    failure: Exception,
    code: str,
    sentence: str,
) -> None:
    page = visit.open(silent_browser, server.url)
    ask(page, "Warm up?")
    wait_state(page, "speaking")
    generator.failure = failure
    ask(page, "Is it blue?")
    assert sentence in notice(page, code)
    page.wait_for_selector(".turn:nth-of-type(2)[data-done=true]")
    generator.failure = None
    ask(page, "Once more?")
    page.wait_for_selector(".turn:nth-of-type(3) .said:not(:empty)")
    assert page.is_hidden("#notice")
