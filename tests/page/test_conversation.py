"""Talking to the page: heard, answered, interrupted, going on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hibari import Hibari

from tests.page.conftest import ANSWER, INTERJECTION, QUESTION, SHORT_ANSWER, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import (
    KEEP_STATES,
    ask,
    played_samples,
    try_now,
    turn_text,
    until,
    wait_loud,
    wait_silent,
    wait_state,
    wait_states,
)
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator


def test_a_spoken_question_is_answered_and_talked_over(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    generator: ScriptedGenerator,
    visit: Visit,
) -> None:
    """Speech at 1 s is answered; speech at 5.5 s stops that answer and is the next turn."""
    microphone = write_microphone((1.0, voice(QUESTION, seed=0)), (5.5, voice(INTERJECTION, seed=0)))
    browser = launch(microphone)
    page = visit.open(browser, server.url, init_script=KEEP_STATES)
    page.click("#start")
    wait_state(page, "listening")
    wait_state(page, "hearing")
    assert page.inner_text("#state") == "Hearing you"
    until(page, "Number(document.body.dataset.youRms) > 0.01")
    wait_state(page, "speaking")
    assert turn_text(page, 1, "you") == QUESTION
    wait_loud(page)
    (total_s,) = re.findall(r"^Answered in ([\d.]+) s$", page.locator(".turn .delay").first.inner_text())
    title = page.get_attribute(".turn .delay", "title") or ""
    silence_s, delay_s = map(float, re.findall(r"([\d.]+) s", title))
    assert float(total_s) == pytest.approx(silence_s + delay_s, abs=0.011)
    assert 0.4 < silence_s < 1.5, "the silence that ended the turn counts"
    assert turn_text(page, 1, "assistant").startswith("My name is Mini-Omni")
    assert page.locator(".coming").count() > 0, "what is still to be said is not there to read yet"

    wait_states(page, "speaking", "hearing")  # talked over
    wait_state(page, "speaking")
    page.wait_for_selector(".turn:nth-of-type(1).interrupted")
    assert turn_text(page, 1, "assistant") == ANSWER
    assert page.locator(".turn").count() == 2
    wait_loud(page)

    spoken = [request for request in generator.requests if request.audio is not None]
    (first,) = spoken[-1].history
    assert first.user == QUESTION
    assert 0 < len(first.assistant) < len(ANSWER), "only what was played is remembered"
    assert np.sqrt(np.mean(spoken[-1].audio ** 2)) > 0.01
    browser.close()


def test_a_typed_question_is_answered_to_the_end(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    ask(page, "Who are you?")
    wait_state(page, "speaking")
    wait_loud(page)
    page.wait_for_selector("body[data-playback=finished]", timeout=20_000)
    wait_state(page, "waiting")
    assert turn_text(page, 1, "you") == "Who are you?"
    assert turn_text(page, 1, "assistant") == SHORT_ANSWER
    assert page.locator(".coming, .unsaid").count() == 0
    assert played_samples(page) == len(brief.sound)
    assert page.inner_text("#spoken-aloud") == f"Mini-Omni said: {SHORT_ANSWER}"


def test_the_stop_button_and_escape_silence_it(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    for turn, stop in enumerate((lambda: page.click("#interrupt"), lambda: page.keyboard.press("Escape")), start=1):
        ask(page, "Tell me about yourself.")
        wait_loud(page, samples=24_000)
        stop()
        page.wait_for_selector("body[data-playback=flushed]")
        wait_silent(page)
        stopped_at = played_samples(page)
        page.wait_for_selector(f".turn:nth-of-type({turn}).interrupted")
        assert page.is_disabled("#interrupt")
        assert 24_000 <= stopped_at < len(generator.sound)
    ask(page, "And now?")
    wait_state(page, "speaking")
    assert [turn.user for turn in generator.requests[-1].history] == ["Tell me about yourself."] * 2
    assert all(0 < len(turn.assistant) < len(ANSWER) for turn in generator.requests[-1].history)


def test_a_new_question_cuts_the_answer_short(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    ask(page, "One?")
    wait_loud(page, samples=12_000)
    ask(page, "Two?")
    page.wait_for_selector(".turn:nth-of-type(1).interrupted")
    page.wait_for_selector(".turn:nth-of-type(2) .delay:not(:empty)")
    wait_loud(page)
    assert turn_text(page, 2, "you") == "Two?"
    assert page.locator(".turn").count() == 2
    assert [request.text for request in generator.requests[-2:]] == ["One?", "Two?"]


def test_a_dropped_connection_comes_back_and_remembers(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    ask(page, "Remember the sea.")
    page.wait_for_selector("body[data-playback=finished]", timeout=20_000)
    server.stop()
    wait_state(page, "reconnecting")
    page.wait_for_selector("#notice[data-code=server_gone]")
    assert "Check that it is running" in page.inner_text("#notice")
    ask(page, "What did I say?")  # asked while it is away: sent when it is back
    server.start()
    try_now(page)
    wait_state(page, "speaking")
    assert page.is_hidden("#notice")
    request = brief.requests[-1]
    assert request.text == "What did I say?"
    assert [(turn.user, turn.assistant) for turn in request.history] == [("Remember the sea.", SHORT_ANSWER)]


def test_it_can_be_muted_and_ended(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    generator: ScriptedGenerator,
    visit: Visit,
) -> None:
    """Muted speech is not heard; the end closes microphone and connection, and the words stay."""
    browser = launch(write_microphone((2.0, voice(QUESTION, seed=0)), (6.0, voice(QUESTION, seed=1))))
    page = visit.open(browser, server.url)
    page.click("#start")
    wait_state(page, "listening")
    page.click("#mute")
    wait_state(page, "muted")
    assert page.get_attribute("#mute", "aria-pressed") == "true"
    until(page, f"performance.now() > {page.evaluate('performance.now()')} + 2500")  # the first question goes by
    assert page.locator(".turn").count() == 0
    page.click("#mute")
    wait_state(page, "speaking")
    assert len([request for request in generator.requests if request.audio is not None]) >= 1
    page.click("#end")
    wait_state(page, "ended")
    wait_silent(page)
    assert page.inner_text("#start") == "Talk again"
    assert turn_text(page, 1, "you") == QUESTION
    assert server.generator is generator
    browser.close()
