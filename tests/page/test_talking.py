"""Push-to-talk, the keys, the first-run hint, false alarms, and what the page makes of messages to come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hibari import Hibari
from playwright.sync_api import Page

from tests.page.conftest import ANSWER, QUESTION, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import WIRE, ask, played_samples, sent, turn_text, until, wait_loud, wait_silent, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator


def receive(page: Page, message: dict[str, object]) -> None:
    page.evaluate("text => window.receive(text)", json.dumps(message))


def choose_push_to_talk(page: Page) -> None:
    page.click("#open-settings")
    page.select_option("#mode", "push")
    page.keyboard.press("Escape")


@pytest.mark.parametrize("by", ["key", "button"])
def test_push_to_talk_hears_only_while_it_is_held(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    generator: ScriptedGenerator,
    visit: Visit,
    by: str,
) -> None:
    """The same question twice: unheld it is not heard, held it is, and letting go ends it without a pause."""
    question = voice(QUESTION, seed=0)
    browser = launch(write_microphone((1.5, question), (6.0, question), (7.7, 0.5 * question)))
    page = visit.open(browser, server.url, init_script=WIRE)
    choose_push_to_talk(page)
    page.click("#start")
    wait_state(page, "resting")
    began = page.evaluate("performance.now()")
    assert page.inner_text("#hold") == "Hold to talk"
    assert sent(page, "start")[-1]["end_silence_ms"] == 3000, "pauses are allowed while it is held"
    until(page, f"performance.now() > {began} + 4500")
    assert page.locator(".turn").count() == 0
    if by == "key":
        page.evaluate("document.activeElement.blur()")
        page.keyboard.down(" ")
    else:
        page.hover("#hold")
        page.mouse.down()
    assert page.get_attribute("#hold", "aria-pressed") == "true"
    wait_state(page, "hearing")
    until(page, f"performance.now() > {began} + 7300")
    assert sent(page, "commit") == []
    if by == "key":
        page.keyboard.up(" ")
    else:
        page.mouse.up()
    until(page, "window.sent.some(({ type }) => type === 'commit')", timeout_s=3)
    wait_state(page, "speaking")
    assert turn_text(page, 1, "you") == QUESTION
    (asked,) = [request for request in generator.requests if request.audio is not None][-1:]
    assert np.sqrt(np.mean(asked.audio**2)) > 0.01
    wait_loud(page)

    page.focus("#hold")  # and to hold it again is to talk over the answer
    page.keyboard.down("Enter")
    wait_silent(page)
    page.wait_for_selector(".turn:nth-of-type(1).interrupted")
    page.keyboard.up("Enter")
    wait_state(page, "resting")


def test_keys_start_mute_type_and_explain(
    launch: Launcher, write_microphone: Callable[..., Path], server: LiveServer, visit: Visit
) -> None:
    page = visit.open(launch(write_microphone(seconds=20)), server.url)
    page.keyboard.press("?")
    assert page.evaluate("document.querySelector('#help').open")
    assert "Stop the answer" in page.inner_text("#help")
    page.keyboard.press("?")
    assert not page.evaluate("document.querySelector('#help').open")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    wait_state(page, "listening")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    wait_state(page, "muted")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type("a ?/")
    assert page.input_value("#question") == "a ?/", "in a text, keys are letters"
    assert page.get_attribute("body", "data-state") == "muted"


def test_the_first_hint_is_gone_after_the_first_answer(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    page.click("text=Why is the sky blue?")
    page.wait_for_selector(".turn[data-done=true]")
    assert turn_text(page, 1, "you") == "Why is the sky blue?"
    assert page.is_hidden("#first-run")
    page.reload()
    page.wait_for_selector("#volume-shown:not(:empty)", state="attached")
    assert page.is_hidden("#first-run")


def test_words_come_in_time_with_the_sound_and_a_cut_strikes_the_rest(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    ask(page, "Who are you?")
    wait_loud(page, samples=36_000)
    shares = page.evaluate("[document.querySelectorAll('.said').length, document.querySelectorAll('.coming').length]")
    assert shares[0] > 0
    assert shares[1] > 0
    first = page.locator(".coming").first
    assert first.evaluate("word => getComputedStyle(word).color") == "rgba(0, 0, 0, 0)", "still dots"
    wait_loud(page, samples=played_samples(page) + 24_000)
    later = page.locator(".said").count()
    assert later > shares[0]
    assert later < len(ANSWER.split())
    page.keyboard.press("Escape")
    page.wait_for_selector(".cut + .unsaid")
    assert page.locator(".coming").count() == 0
    assert "line-through" in page.locator(".unsaid").first.evaluate("word => getComputedStyle(word).textDecorationLine")
    assert page.locator(".said").count() + page.locator(".unsaid").count() == len(ANSWER.split())
    assert turn_text(page, 1, "assistant") == ANSWER


def test_a_false_alarm_heals_the_cut_sentence(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    """The server's own words: interrupted by a cough, then `resumed` with the rest of the sound."""
    page = visit.open(silent_browser, server.url, init_script=WIRE)
    ask(page, "Who are you?")
    wait_loud(page, samples=24_000)
    until(page, "document.querySelectorAll('.said, .coming').length >= 27")  # all has been written
    receive(
        page,
        {
            "type": "interrupted",
            "response_id": 1,
            "turn_id": 1,
            "reason": "speech",
            "text": ANSWER[:11],
            "played_ms": 900,
        },
    )
    receive(page, {"type": "speech_started", "turn_id": 2, "at_ms": 1000})
    page.wait_for_selector(".turn:nth-of-type(1).interrupted .cut")
    wait_silent(page)
    receive(page, {"type": "speech_stopped", "turn_id": 2, "at_ms": 1500, "reason": "silence"})
    receive(page, {"type": "heard", "turn_id": 2, "text": "", "no_speech": True})
    receive(page, {"type": "resumed", "response_id": 1, "turn_id": 1, "played_ms": 900})
    rest = (generator.sound[int(0.9 * 24_000) :] * 32767).astype("<i2").tobytes()
    page.evaluate("bytes => window.receive(Uint8Array.from(bytes).buffer)", list(rest))
    receive(page, {"type": "text_delta", "response_id": 1, "text": " And on."})
    receive(
        page,
        {"type": "response_done", "response_id": 1, "turn_id": 1, "reason": "stop", "text": "", "audio_ms": 9000},
    )
    wait_loud(page)
    assert page.locator(".turn").count() == 1
    assert page.locator(".cut, .unsaid").count() == 0, "the sentence is whole again"
    assert page.locator(".turn.interrupted").count() == 0
    assert played_samples(page) > 0.9 * 24_000, "it is counted on from where it stopped"
    page.wait_for_selector("body[data-playback=finished]", timeout=20_000)
    page.wait_for_selector(".turn[data-done=true]")
    assert played_samples(page) == len(generator.sound)
    assert turn_text(page, 1, "assistant") == f"{ANSWER} And on."
    assert page.locator(".coming").count() == 0


def test_messages_of_a_newer_server_are_ignored(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url, init_script=WIRE)
    ask(page, "Is it blue?")
    page.wait_for_selector(".said")
    for kind in ("weather", "constructor", "toString", ""):
        receive(page, {"type": kind, "response_id": 1})
    receive(page, {"type": "resumed", "response_id": 77, "turn_id": 5, "played_ms": 10})
    page.wait_for_selector("body[data-playback=finished]", timeout=20_000)
    assert page.is_hidden("#notice")


def test_a_key_in_the_address_opens_a_server_that_wants_one(
    silent_browser: Browser, brief: ScriptedGenerator, visit: Visit
) -> None:
    visit.expect("establish a connection", "Unexpected response code: 401")
    with LiveServer(brief, api_keys="open-sesame") as server:
        page = visit.open(silent_browser, f"{server.url}#key=wrong")
        ask(page, "Is it blue?")
        page.wait_for_selector("#notice:not([hidden])")
        page.goto("about:blank")
        page.goto(f"{server.url}#key=open-sesame")
        ask(page, "Is it blue?")
        page.wait_for_selector(".said")


def test_eagerness_is_sent_only_when_chosen(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url, init_script=WIRE)
    ask(page, "Is it blue?")
    page.wait_for_selector(".said")
    assert not {"eagerness", "end_silence_ms"} & set(sent(page, "start")[0]), "left to the server"
    page.click("#open-settings")
    page.get_by_label("How soon to answer").select_option("Patient")
    until(page, "window.sent.filter(({ type }) => type === 'start').length === 2")
    assert sent(page, "start")[1]["eagerness"] == "low"
    assert "end_silence_ms" not in sent(page, "start")[1]


def test_a_microphone_is_tested_without_being_sent(
    launch: Launcher, write_microphone: Callable[..., Path], voice: Hibari, server: LiveServer, visit: Visit
) -> None:
    page = visit.open(launch(write_microphone((1.0, voice(QUESTION, seed=0)))), server.url, init_script=WIRE)
    page.click("#open-settings")
    page.click("#test")
    page.wait_for_selector("text=It hears you well.")
    assert page.get_attribute("#test", "aria-pressed") == "true"
    assert page.evaluate("window.sent.length") == 0
    assert page.get_attribute("body", "data-state") == "ready"
    page.keyboard.press("Escape")
    until(page, "Number(document.body.dataset.youRms) === 0")
    assert page.get_attribute("#test", "aria-pressed") == "false"


def test_figures_are_those_of_the_answers(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url)
    page.click("#open-figures")
    assert page.inner_text("#figure-parts") == "Nothing has been measured yet."
    for turn in (1, 2):
        ask(page, "Is it blue?")
        page.wait_for_selector(f".turn:nth-of-type({turn})[data-done=true]")
    shown = page.locator(".delay").all_inner_texts()
    assert page.inner_text("#figure-last") == shown[-1].removeprefix("Answered in ")
    label = page.get_attribute("#sparkline", "aria-label") or ""
    assert label.endswith(", ".join(text.split()[2] for text in shown))
    assert page.locator("#sparkline .way").count() == 2
    assert float(page.inner_text("#figure-factor")) > 0
    page.reload()
    page.wait_for_selector("#figures")  # it stays open
