"""What tests wait for on the page."""

from __future__ import annotations

import time

from playwright.sync_api import Page

POLL_MS = 25
KEEP_STATES = """window.states = [];
addEventListener('DOMContentLoaded', () => {
  const { dataset } = document.body;
  const keep = () => dataset.state !== states.at(-1) && states.push(dataset.state);
  new MutationObserver(keep).observe(document.body, { attributeFilter: ['data-state'] });
});"""
"""For `wait_states`."""
WIRE = """{
  const Real = WebSocket;
  window.sent = [];
  window.WebSocket = class extends Real {
    constructor(...given) { super(...given); window.socket = this; }
    send(data) { if (typeof data === 'string') window.sent.push(JSON.parse(data)); super.send(data); }
  };
  window.receive = (data) => window.socket.onmessage({ data });
}"""
"""Keeps what the page sends, and lets a test put words in the server's mouth."""


def until(page: Page, expression: str, timeout_s: float = 15) -> None:
    """Until this JavaScript is true. (Playwright's own `wait_for_function` needs `eval`, which the page forbids.)"""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true within {timeout_s} s: {expression}"
        page.wait_for_timeout(POLL_MS)


def wait_state(page: Page, *states: str, timeout_s: float = 15) -> None:
    """Until the page says that it is in one of these states."""
    selector = ", ".join(f"body[data-state={state}]" for state in states)
    page.wait_for_selector(selector, timeout=timeout_s * 1000)


def wait_states(page: Page, *states: str) -> None:
    """Until the page, opened with `KEEP_STATES`, has been in these states, one after the other, however briefly; others
    may lie between them."""
    until(page, f"/{'.* '.join(states)}/.test(states.join(' '))")


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def try_now(page: Page) -> None:
    """Press the notice's button, unless the page has just helped itself."""
    page.evaluate("document.querySelector('#notice:not([hidden]) .notice-action')?.click()")


def played_samples(page: Page) -> int:
    """Samples of the answer, at 24 kHz, that the playback worklet has given out."""
    return int(page.evaluate("Number(document.body.dataset.playbackSamples ?? 0)"))


def wait_loud(page: Page, least_rms: float = 0.02, samples: int = 0) -> None:
    """Until the playback worklet puts out real sound, and this much of the answer has been played."""
    data = "document.body.dataset"
    until(page, f"Number({data}.assistantRms) > {least_rms} && Number({data}.playbackSamples) >= {samples}")


def wait_silent(page: Page) -> None:
    """Until the playback worklet puts out nothing."""
    until(page, "Number(document.body.dataset.assistantRms) === 0", timeout_s=5)


def turn_text(page: Page, turn: int, side: str) -> str:
    """The caption of a turn (1 is the first): side 'you' or 'assistant'."""
    return page.locator(f".turn:nth-of-type({turn}) .{side} .text").inner_text().strip()


def sent(page: Page, kind: str) -> list[dict[str, object]]:
    """The messages of this kind that the page has sent; it was opened with `WIRE`."""
    return list(page.evaluate("kind => window.sent.filter(({ type }) => type === kind)", kind))
