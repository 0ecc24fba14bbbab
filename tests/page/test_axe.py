"""axe-core, the accessibility checker, in every state of the page."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from hibari import Hibari
from playwright.sync_api import Page

from tests.page.conftest import QUESTION, Visit
from tests.page.engines import Launcher
from tests.page.helpers import ask, until, wait_state
from tests.page.live import LiveServer
from tests.page.scripted import ScriptedGenerator

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
RUN = """async () => (await axe.run({ resultTypes: ['violations'] })).violations
  .map(({ id, nodes }) => [id, nodes[0].html, nodes[0].failureSummary])"""


def findings(page: Page) -> list[object]:
    """What axe finds wrong, once nothing on the page is on its way any more."""
    page.evaluate("document.getAnimations().forEach((each) => each.effect.getTiming().iterations < 9 && each.finish())")
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(AXE)
    return list(page.evaluate(RUN))


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1440, "dark")])
def test_nothing_is_found_in_any_state(
    launch: Launcher,
    write_microphone: Callable[..., Path],
    voice: Hibari,
    server: LiveServer,
    generator: ScriptedGenerator,
    visit: Visit,
    width: int,
    scheme: str,
) -> None:
    if launch.engine == "firefox" and width == 1440:
        pytest.skip("a minute in each engine, and the rules read the same document: Firefox is asked once")
    server.wait_ready()  # it answers to itself first, and that should take no long thought
    generator.think_s = 3.0
    microphone = write_microphone((3.0, voice(QUESTION, seed=0)), (5.0, voice(QUESTION, seed=1)))
    browser = launch(microphone, dark=scheme == "dark")
    page = visit.open(browser, server.url, viewport={"width": width, "height": 800})
    found = {"first run": findings(page)}
    page.click("#open-help")
    found["help"] = findings(page)
    page.keyboard.press("Escape")
    page.click("#start")
    for state in ("listening", "hearing", "thinking", "speaking"):
        wait_state(page, state)
        found[state] = findings(page)
    page.click("#interrupt")
    page.wait_for_selector(".turn.interrupted")
    found["interrupted"] = findings(page)
    page.click("#open-figures")
    found["figures"] = findings(page)
    page.click("#figures summary")
    found["figures explained"] = findings(page)
    page.click("#open-settings")
    page.select_option("#persona", "own")
    page.select_option("#eagerness", "off")
    page.select_option("#mode", "push")
    found["settings"] = findings(page)
    page.keyboard.press("Escape")
    wait_state(page, "resting")
    found["push-to-talk"] = findings(page)
    page.click("#open-save")
    found["save"] = findings(page)
    page.keyboard.press("Escape")
    ask(page, "Typed?")
    page.wait_for_selector(".turn:last-of-type .coming")
    found["typed"] = findings(page)
    server.stop()
    page.wait_for_selector("#notice[data-code=server_gone]")
    found["away"] = findings(page)
    page.click("#end")
    wait_state(page, "ended")
    until(page, "document.querySelector('#notice').hidden")
    found["ended"] = findings(page)
    assert {state: wrong for state, wrong in found.items() if wrong} == {}
    browser.close()
