"""/docs in a browser: every HTTP route is shown, from this server's own files, under the page's security policy."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.page.engines import Browser
from tests.page.live import LiveServer

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def docs(silent_browser: Browser, server: LiveServer, complaints: list[str]) -> Iterator[Page]:
    context = silent_browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith((server.url, "data:")) else None)
    page.goto(f"{server.url}docs")
    yield page
    context.close()


def operations(server: LiveServer) -> list[tuple[str, str]]:
    paths = httpx.get(f"{server.url}openapi.json").json()["paths"]
    return [(method, path) for path, item in paths.items() for method in item if method in METHODS]


def test_every_operation_is_shown_and_can_be_tried(docs: Page, server: LiveServer, complaints: list[str]) -> None:
    wanted = operations(server)
    assert ("get", "/ready") in wanted
    expect(docs.locator(".opblock")).to_have_count(len(wanted))
    shown = {
        (block.locator(".opblock-summary-method").inner_text().lower(), block.locator("[data-path]").inner_text())
        for block in docs.locator(".opblock").all()
    }
    assert {(method, path.replace("\u200b", "")) for method, path in shown} == set(wanted)
    block = docs.locator(".opblock", has=docs.locator("[data-path='/health']"))
    block.locator(".opblock-summary-control").click()
    block.locator("button.execute").click()
    expect(block.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert complaints == []


def test_it_leads_to_the_pages_of_the_protocols(docs: Page) -> None:
    for path, words in (("/ws", "The WebSocket protocol"), ("/v1/realtime", "Realtime")):
        address = docs.locator(".information-container a", has_text=path).first.evaluate("link => link.href")
        answer = httpx.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        assert words in answer.text.splitlines()[0]
