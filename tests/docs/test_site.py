"""The documentation: the site is built strictly and loads nothing from elsewhere; what it says of settings is so."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from deploy.settings_table import PAGE, written
from server.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = ("index.html", "deploy.html", "security.html", "protocol.html", "training.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


class Loaded(HTMLParser):
    """Collects what a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        loads = given.get("href") if tag == "link" and given.get("rel") != "canonical" else given.get("src")
        if loads:
            self.addresses.append(loads)


def test_no_page_names_anything_to_load_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert loaded.addresses
        assert [a for a in loaded.addresses if re.match(r"(https?:)?//", a)] == [], page.name
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\s*['\"]?(https?:)?//|@import", style.read_text(encoding="utf-8")), style.name


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_in_a_browser_it_works_offline_at_day_and_night_on_any_width(address: str) -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium found: install one (apt-get install chromium)")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme, width in (("light", 1280), ("dark", 390)):
            context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page = context.new_page()
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda r: complaints.append(r.url) if not r.url.startswith((address, "data:")) else None)
            for name in PAGES:
                page.goto(address + name)
                assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{name} is too wide"
                shown = page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert shown == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(32, 29, 18)")
            context.close()
        browser.close()
    assert complaints == []


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "write them anew: python -m deploy.settings_table"


def test_every_metric_has_its_row() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Metrics")[1].split("\n## ")[0]
    told = set(re.findall(r"`(omni_[a-z_]+)", section))
    families = Metrics().registry.collect()
    names = {f.name + ("_total" if f.type == "counter" else "") for f in families if f.name.startswith("omni_")}
    assert {name for name in told if not name.endswith("_bucket")} == names


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_files_at_the_top_lead_somewhere(name: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.S)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = ROOT / path if path else ROOT / name
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, link
