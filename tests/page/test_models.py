"""The page says which model answers, and where the server has several it lets a person choose."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import SHORT_ANSWER, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import WIRE, ask, sent, until
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator
from tests.page.test_axe import findings
from tests.page.test_layout import OVERHANG

LONG = "somebody/a-model-whose-name-is-longer-than-a-telephone-is-wide-GGUF"
CUT = "element => element.scrollWidth > element.clientWidth"


@pytest.fixture
def sound() -> np.ndarray:
    return (0.1 * np.sin(np.arange(4096) / 20)).astype(np.float32)


@pytest.fixture
def first(sound: np.ndarray) -> ScriptedGenerator:
    return ScriptedGenerator(SHORT_ANSWER, sound, name="omni-1.5b")


@pytest.fixture
def second(sound: np.ndarray) -> ScriptedGenerator:
    return ScriptedGenerator(SHORT_ANSWER, sound, name="smol-omni")


@pytest.fixture
def two(first: ScriptedGenerator, second: ScriptedGenerator) -> Iterator[LiveServer]:
    with LiveServer(first, [second]) as running:
        running.wait_ready()
        yield running


def questions(generator: ScriptedGenerator) -> list[str]:
    """What was typed to it, besides the server's own first question."""
    return [request.text for request in generator.requests if request.text not in (None, "Hello.")]


def answered(page: Page, turn: int) -> None:
    page.wait_for_selector(f".turn:nth-of-type({turn})[data-done=true]")


def test_one_model_is_named_and_leaves_no_choice(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    server.wait_ready()
    page = visit.open(silent_browser, server.url, init_script=WIRE)
    expect(page.locator("#model-shown")).to_have_text("smol-omni")
    assert page.inner_text("#answered-by").split() == ["Answered", "by", "the", "model", "smol-omni"]
    page.click("#open-settings")
    assert page.is_hidden("#model")
    page.keyboard.press("Escape")
    ask(page, "Who are you?")
    until(page, "window.sent.length > 1")
    assert "model" not in sent(page, "start")[0], "the server's default is left to the server"


def test_a_model_is_chosen_by_key_and_kept(
    silent_browser: Browser, two: LiveServer, first: ScriptedGenerator, second: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, two.url, init_script=WIRE)
    expect(page.locator("#model-shown")).to_have_text("omni-1.5b")
    ask(page, "One?")
    answered(page, 1)
    page.click("#open-settings")
    assert page.locator("#model option").all_inner_texts() == ["omni-1.5b", "smol-omni"]
    page.focus("#model")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    expect(page.locator("#model-shown")).to_have_text("smol-omni")
    ask(page, "Two?")
    answered(page, 2)
    assert (questions(first), questions(second)) == (["One?"], ["Two?"])
    assert [turn.user for turn in second.requests[-1].history] == ["One?"], "the conversation goes on"

    page.reload()
    expect(page.locator("#model-shown")).to_have_text("smol-omni")
    page.click("#open-settings")
    assert page.input_value("#model") == "smol-omni"
    page.keyboard.press("Escape")
    ask(page, "Three?")
    answered(page, 1)
    assert sent(page, "start")[0]["model"] == "smol-omni"
    assert questions(second) == ["Two?", "Three?"]


def test_a_choice_that_the_server_no_longer_has_is_forgotten(
    silent_browser: Browser, two: LiveServer, first: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, two.url, init_script=WIRE)
    expect(page.locator("#model-shown")).to_have_text("omni-1.5b")
    page.click("#open-settings")
    page.select_option("#model", "smol-omni")
    page.keyboard.press("Escape")
    ask(page, "One?")
    answered(page, 1)
    two.stop()
    two.also = []
    two.start()  # the page connects anew, is refused what it chose, and takes what is there
    expect(page.locator("#model-shown")).to_have_text("omni-1.5b", timeout=20_000)
    ask(page, "Two?")
    answered(page, 2)
    assert page.is_hidden("#notice")
    assert [start.get("model") for start in sent(page, "start")][-2:] == ["smol-omni", None]
    assert questions(first) == ["Two?"]
    assert [turn.user for turn in first.requests[-1].history] == ["One?"]

    page.evaluate("localStorage.setItem('mini-omni.settings', JSON.stringify({ model: 'smol-omni' }))")
    page.reload()  # and a choice of long ago is not even sent
    expect(page.locator("#model-shown")).to_have_text("omni-1.5b")
    ask(page, "Three?")
    answered(page, 1)
    assert [start.get("model") for start in sent(page, "start")] == [None]


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (1440, "dark")])
def test_names_of_any_length_fit_and_are_read_aloud(
    launch: Launcher, sound: np.ndarray, second: ScriptedGenerator, visit: Visit, width: int, scheme: str
) -> None:
    if launch.engine == "firefox" and width == 1440:
        pytest.skip("the rules read the same document: Firefox is asked once")
    browser = launch(dark=scheme == "dark")
    with LiveServer(ScriptedGenerator(SHORT_ANSWER, sound, name=LONG), [second]) as server:
        server.wait_ready()
        page = visit.open(browser, server.url, viewport={"width": width, "height": 740})
        shown = page.locator("#answered-by")
        expect(shown).to_have_attribute("title", LONG)
        assert shown.evaluate(CUT), "with an ellipsis"
        boxes = [page.locator(selector).bounding_box() for selector in ("#answered-by", "nav")]
        assert boxes[0]
        assert boxes[1]
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        assert page.evaluate(OVERHANG) == 0
        page.click("#open-settings")
        assert page.get_by_role("combobox", name="Model").input_value() == LONG
        assert page.evaluate(OVERHANG) == 0
        assert findings(page) == []
    browser.close()
