"""For everybody: by keyboard, by ear, on a phone, at night, without motion; and safe."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page

from tests.page.conftest import Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import ask, until, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

STATIC = Path(__file__).parents[2] / "static"

SETTLE = "document.getAnimations().forEach((each) => each.effect.getTiming().iterations < 9 && each.finish())"
"""A word that arrives changes its colours for a moment."""
CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const rgb = (colour) => { // any CSS colour, over the page's own
    canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => {
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb(colour).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (colour !== 'rgba(0, 0, 0, 0)') return colour;
    }
    return 'white';
  };
  const HIDDEN = '[hidden], :disabled, dialog:not([open]), details:not([open]) > .help, .hidden, .skip, .coming,'
    + ' noscript';
  const poor = [];
  for (const element of document.querySelectorAll('body *')) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || element.closest(HIDDEN)) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(background(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) poor.push(`${element.className || element.tagName}: ${contrast.toFixed(2)}`);
  }
  return [...new Set(poor)];
}"""


def talk(page: Page) -> None:
    """A conversation with an answer in the middle of being said, and one that was interrupted."""
    ask(page, "Who are you?")
    wait_state(page, "speaking")
    page.click("#interrupt")
    page.wait_for_selector(".turn.interrupted")
    ask(page, "A question that is long enough to be broken over several lines on the screen of a telephone?")
    page.wait_for_selector(".turn:nth-of-type(2) .coming")


def test_everything_has_a_name_and_a_role(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    page = visit.open(silent_browser, server.url)
    talk(page)
    assert page.get_by_role("banner").count() == 1
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("region", name="Conversation").count() == 1
    assert page.get_by_role("meter").count() == 2
    for name in ("Save", "Settings", "Use voice", "Stop it", "End", "Send"):
        assert page.get_by_role("button", name=name, exact=True).count() == 1, name
    assert page.get_by_role("textbox", name="Type a question").count() == 1
    assert page.get_by_role("status").inner_text() == "Speaking"
    page.click("#open-settings")
    for role, name in (
        ("combobox", "When it listens"),
        ("combobox", "How soon to answer"),
        ("combobox", "Microphone"),
        ("slider", "Volume"),
        ("combobox", "Persona"),
    ):
        assert page.get_by_role(role, name=re.compile(name)).count() == 1, name  # type: ignore[arg-type]
    names = page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(names) == len(set(names))


def test_it_works_by_keyboard_alone(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    page = visit.open(silent_browser, server.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.type("Who are you?")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Tell me.")
    page.keyboard.press("Enter")
    wait_state(page, "speaking")
    assert page.locator(".you .text").inner_text() == "Who are you?\nTell me."
    page.keyboard.press("Escape")
    page.wait_for_selector(".turn.interrupted")
    seen: list[str] = []
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        seen.append(page.evaluate("document.activeElement.id"))
        if seen[-1] == "open-settings":
            break
        assert page.evaluate(
            "(() => { const e = document.activeElement, i = e.querySelector('svg') ?? e;"
            " return [e, i].some((x) => getComputedStyle(x).outlineStyle === 'solid'); })()"
        ), f"{seen[-1]} shows that it has the focus"
    assert {"end", "mute", "open-settings"} <= set(seen)
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#settings').open")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('#settings').open")
    assert page.evaluate("document.activeElement.id") == "open-settings"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_all_and_the_words_can_be_read(
    launch: Launcher, server: LiveServer, visit: Visit, scheme: str
) -> None:
    browser = launch(dark=scheme == "dark")
    page = visit.open(browser, server.url, viewport={"width": 360, "height": 640})
    assert page.evaluate(CONTRAST) == []
    talk(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.documentElement.scrollHeight") == 640
    for button in ("#mute", "#interrupt", "#end", "#question"):
        box = page.locator(button).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
        assert box["y"] + box["height"] <= 640
        assert box["height"] >= 44
    captions = page.locator("#scroll").bounding_box()
    assert captions is not None
    assert captions["height"] > 200
    page.wait_for_selector("body[data-playback=finished]", timeout=30_000)
    page.evaluate(SETTLE)
    assert page.evaluate(CONTRAST) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 384) == (scheme == "light")
    page.click("#open-settings")
    assert page.evaluate(CONTRAST) == []


def test_the_newest_words_stay_in_sight(
    silent_browser: Browser, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    page = visit.open(silent_browser, server.url, viewport={"width": 360, "height": 640})
    for turn in range(1, 6):
        ask(page, f"Question {turn}?")
        page.wait_for_selector(f".turn:nth-of-type({turn}) .said:not(:empty)")
    bottom = "document.querySelector('#scroll')"
    until(page, f"{bottom}.scrollHeight > {bottom}.clientHeight")
    until(page, f"{bottom}.scrollHeight - {bottom}.scrollTop - {bottom}.clientHeight < 2")


def test_reduced_motion_moves_nothing_by_itself(
    launch: Launcher, silent_browser: Browser, server: LiveServer, visit: Visit
) -> None:
    def picture(page: Page) -> str:
        return str(page.evaluate("document.querySelector('#seeds').toDataURL()"))

    calm = launch(still=True)
    still = visit.open(calm, server.url)
    until(still, "performance.now() > 2500")  # it has woken up
    first = picture(still)
    until(still, f"performance.now() > {still.evaluate('performance.now()')} + 300")
    assert picture(still) == first
    moving = visit.open(silent_browser, server.url)
    first = picture(moving)
    until(moving, f"document.querySelector('#seeds').toDataURL() !== {first!r}")


def test_the_policy_is_strict_and_nothing_comes_from_elsewhere(server: LiveServer) -> None:
    """Beside every other test here, which fails on any complaint of the browser about the policy."""
    policy = httpx.get(server.url).headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    for path in STATIC.rglob("*"):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            text = path.read_text().replace("http://www.w3.org/2000/svg", "").replace("http://localhost", "")
            assert not re.search(r"https?://|@import|url\((?!#)", text), path
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)
