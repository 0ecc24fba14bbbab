"""How soon the page shows itself: first paint in a headless Chromium, and what is transferred for it."""

from __future__ import annotations

from dataclasses import dataclass

from playwright.sync_api import Browser, BrowserContext, sync_playwright

from benchmarks.browser import FLAGS, chromium
from benchmarks.report import Figure, Report, median
from benchmarks.server_process import server

_PAINT = """() => new Promise((resolve) => {
  const look = () => {
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    if (!paint) return setTimeout(look, 5);
    const files = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    resolve([paint.startTime, files.reduce((sum, file) => sum + file.encodedBodySize, 0)]);
  };
  look();
})"""
"""Milliseconds from asking for the page until it shows something, and bytes of its files so far."""


@dataclass(frozen=True)
class _Load:
    paint_ms: float
    kilobytes: float


def _load(context: BrowserContext, url: str) -> _Load:
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    paint_ms, transferred = page.evaluate(_PAINT)
    page.close()
    return _Load(paint_ms, transferred / 1000)


def _visit(browser: Browser, url: str) -> tuple[_Load, _Load]:
    """Somebody's first visit, and the next one."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        return _load(context, url), _load(context, url)


def run(visits: int, flags: tuple[str, ...]) -> Report:
    """Open the page `visits` times as one who was never there, and once more each; the very first is told apart."""
    with server(*flags) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        url = f"http://127.0.0.1:{running.port}/"
        seen = [_visit(browser, url) for _ in range(visits)]
        browser.close()
    first, again = [one.paint_ms for one, _ in seen], [one.paint_ms for _, one in seen]
    figures = [
        Figure("first contentful paint, nothing cached, median", median(first), "ms"),
        Figure("… longest", max(first), "ms"),
        Figure("… of a browser that has just started", first[0], "ms"),
        Figure("first contentful paint, next visit, median", median(again), "ms"),
        Figure("files of the page, as transferred", seen[0][0].kilobytes, "kB"),
    ]
    return Report("page", f"{visits} visits of the page with Chromium", figures)
