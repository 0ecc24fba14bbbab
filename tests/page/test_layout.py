"""Every width, zoom, direction and contrast; installed and without a server; small and soon painted."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.page.conftest import SHORT_ANSWER, Visit
from tests.page.engines import Browser, Launcher
from tests.page.helpers import ask, until, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

STATIC = Path(__file__).parents[2] / "static"
MOST_BYTES = 156 * 1024
LEAST_TARGET_PX = 44
OVERHANG = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

SMALL_TARGETS = """(least) => [...document.querySelectorAll('button, select, input, summary')]
  .filter((each) => each.checkVisibility() && !each.closest('.hidden'))
  .map((each) => [each.id || each.textContent, each.getBoundingClientRect()])
  .filter(([, { width, height }]) => Math.min(width, height) < least - 0.5)
  .map(([name, { width, height }]) => `${name}: ${width} × ${height}`)"""

KEPT = """async () => {
  const [name] = await caches.keys();
  return (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname);
}"""


def test_the_page_stays_small() -> None:
    total = sum(path.stat().st_size for path in STATIC.rglob("*") if path.is_file())
    assert total < MOST_BYTES, f"static/ holds {total} bytes; the page loads at once because it is small"


@pytest.mark.parametrize("size", [(360, 640), (640, 400), (768, 1024), (1440, 900)], ids=str)
def test_nothing_is_cut_off_or_too_small_to_touch(
    silent_browser: Browser, server: LiveServer, visit: Visit, size: tuple[int, int]
) -> None:
    """640 × 400 is what a screen of 1280 × 800 shows at 200 %."""
    width, height = size
    page = visit.open(silent_browser, server.url, viewport={"width": width, "height": height})
    for step in ("first", "talking", "figures", "settings"):
        if step == "talking":
            ask(page, "Who are you?")
            wait_state(page, "speaking")
        elif step != "first":
            page.click(f"#open-{step}")
        assert page.evaluate(OVERHANG) == 0, step
        assert page.evaluate(SMALL_TARGETS, LEAST_TARGET_PX) == [], step
    page.keyboard.press("Escape")
    page.locator("#question").scroll_into_view_if_needed()
    box = page.locator("#question").bounding_box()
    assert box
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= height


def test_right_to_left_mirrors_it_and_words_keep_their_own_direction(
    silent_browser: Browser, server: LiveServer, generator: ScriptedGenerator, visit: Visit
) -> None:
    generator.words = "مرحبا بكم في الصفحة"
    page = visit.open(silent_browser, server.url, viewport={"width": 1280, "height": 800})
    ask(page, "Say hello in Arabic.")
    page.wait_for_selector(".said")
    direction = "p => getComputedStyle(p).direction"
    assert page.locator(".assistant .text").evaluate(direction) == "rtl"
    assert page.locator(".you .text").evaluate(direction) == "ltr"

    def middle(selector: str) -> float:
        box = page.locator(selector).bounding_box()
        assert box
        return float(box["x"] + box["width"] / 2)

    assert middle(".stage") < middle(".talk")
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert middle(".stage") > middle(".talk")
    assert middle(".wordmark") > middle("nav")
    assert page.evaluate(OVERHANG) == 0


@pytest.mark.parametrize("wish", ["contrast", "forced_colors"])
def test_more_contrast_and_the_systems_colours_keep_every_word(
    silent_browser: Browser, server: LiveServer, visit: Visit, wish: str
) -> None:
    if silent_browser.engine == "firefox":
        pytest.skip("Firefox knows these wishes only from its system: WebDriver BiDi has no command for them yet")
    value = {"contrast": "more", "forced_colors": "active"}[wish]
    page = visit.open(silent_browser, server.url, **{wish: value})
    ask(page, "Who are you?")
    page.wait_for_selector(".coming")
    colour = "element => getComputedStyle(element).color"
    if wish == "forced_colors":
        assert page.locator(".coming").first.evaluate(colour) != "rgba(0, 0, 0, 0)", "words to come can be read"
    else:
        soft, ink = (page.locator(s).first.evaluate(colour) for s in ("#hint", "#state"))
        assert soft == ink, "nothing is paler than it must be"
    page.keyboard.press("Escape")
    page.wait_for_selector(".cut")
    assert page.locator(".unsaid").first.evaluate("word => getComputedStyle(word).textDecorationLine") == "line-through"


def test_it_can_be_installed(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    page = visit.open(silent_browser, server.url)
    found = page.evaluate("""async () => {
      const response = await fetch(document.querySelector('link[rel=manifest]').href);
      return [response.headers.get('content-type'), await response.json()];
    }""")
    kind, manifest = found
    assert kind.split(";")[0] == "application/manifest+json"
    assert manifest["display"] == "standalone"
    sizes = set()
    for icon in manifest["icons"]:
        data = (STATIC / icon["src"]).read_bytes()
        if icon["type"] == "image/png":
            width, height = struct.unpack(">II", data[16:24])
            assert icon["sizes"] == f"{width}x{height}"
            sizes.add((width, icon.get("purpose", "any")))
    assert {(192, "any"), (512, "any"), (512, "maskable")} <= sizes
    assert json.loads((STATIC / "manifest.webmanifest").read_text()) == manifest


def test_without_its_server_the_page_says_so_and_comes_back(
    launch: Launcher, server: LiveServer, brief: ScriptedGenerator, visit: Visit
) -> None:
    browser = launch()
    page = visit.open(browser, server.url)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    until(page, "navigator.serviceWorker.controller !== null")
    assert page.evaluate(KEPT) == ["/away.html", "/style/away.css"], "no module is ever kept"
    server.stop()
    page.goto(server.url)
    assert page.inner_text("h1") == "The server is away"
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).fontWeight") == "800", "with its own style"
    server.start()
    page.click("text=Try now")
    page.wait_for_selector("#volume-shown:not(:empty)", state="attached")
    ask(page, "Is it blue?")
    page.wait_for_selector(".turn[data-done=true]")
    assert SHORT_ANSWER in page.inner_text("#turns")
    browser.close()


def test_its_first_paint_waits_for_no_script(silent_browser: Browser, server: LiveServer, visit: Visit) -> None:
    """Not how fast (that depends on the machine), but that there are words to be seen without any of the modules."""
    context = silent_browser.new_context(java_script_enabled=False) if silent_browser.engine == "chromium" else None
    if context is None:
        pytest.skip("Firefox cannot be told over WebDriver BiDi to run no script")
    page = context.new_page()
    page.goto(server.url)
    assert page.inner_text("#state") == "Say something"
    context.close()
