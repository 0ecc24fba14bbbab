"""The browsers that the page is tested in: Debian's Chromium and Firefox, behind one interface.

Firefox plays into a PulseAudio of its own that leads nowhere: without any loudspeaker its sound would stand still.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as PlaywrightBrowser
from playwright.sync_api import BrowserContext, Page, Playwright

ENGINES = ("chromium", "firefox")
"""Each runs every test. Firefox is driven over WebDriver BiDi."""
COMMANDS = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "firefox": ("firefox-esr", "firefox"),
}
ROOT = Path(__file__).parents[2]
INSECURE_HOST = "plain.test"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--host-resolver-rules=MAP {INSECURE_HOST} 127.0.0.1",
)
FIREFOX_PREFERENCES = {
    "media.navigator.permission.disabled": True,  # no question whether the page may have the microphone
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.block-webaudio": False,
    "network.dns.localDomains": INSECURE_HOST,
}
FILE_AS_MICROPHONE = """{
  const bytes = Uint8Array.from(atob('%s'), (letter) => letter.charCodeAt(0));
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  let begun = null;
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await ask(wanted);
    if (!begun) {
      const context = new AudioContext();
      const buffer = await context.decodeAudioData(bytes.buffer.slice(0));
      const source = new AudioBufferSourceNode(context, { buffer });
      begun = { context, source };
      source.start();
    }
    const microphone = new MediaStreamAudioDestinationNode(begun.context);
    begun.source.connect(microphone);
    return microphone.stream;
  };
}"""
"""Firefox's fake microphone is a tone; this puts a WAV in its place. It begins when it is first asked for."""

NO_MICROPHONE = """navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException('', 'NotFoundError');
};"""
"""What a loudspeaker plays can be recorded with PulseAudio, so Firefox always finds a microphone there."""


class DeafLoudspeaker:
    """A PulseAudio server, for one test file, whose only loudspeaker is heard by nobody but keeps time."""

    def __init__(self, folder: Path) -> None:
        program = shutil.which("pulseaudio")
        if not program:
            pytest.skip("Firefox plays no sound here: install pulseaudio (apt-get install pulseaudio)")
        socket = folder / "loudspeaker"
        self.environment = {**os.environ, "PULSE_SERVER": f"unix:{socket}"}
        flags = ["-n", "--daemonize=no", "--use-pid-file=no", "--exit-idle-time=-1", "--disable-shm=yes"]
        modules = ["module-null-sink", f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
        self._process = subprocess.Popen(
            [program, *flags, *(f"--load={module}" for module in modules)],
            env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while not socket.exists():
            assert time.monotonic() < deadline, "pulseaudio did not start"
            time.sleep(0.05)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


def on_secure_pages(script: str) -> str:
    """An init script for pages that have microphones. Firefox runs them in the blank document before as well, which has
    none."""
    return f"if (isSecureContext) {{ {script} }}"


@dataclass
class Browser:
    """A running browser, and what each of its pages is opened with."""

    engine: str
    running: PlaywrightBrowser
    context: dict[str, Any] = field(default_factory=dict)
    init_script: str = ""
    downloads: Path | None = None
    """Where it puts files by itself; None: Playwright is told of them."""

    def new_context(self, **options: Any) -> BrowserContext:
        context = self.running.new_context(**{"viewport": {"width": 1280, "height": 800}, **self.context, **options})
        if self.init_script:
            context.add_init_script(on_secure_pages(self.init_script))
        return context

    def new_page(self) -> Page:
        return self.new_context().new_page()

    def download(self, page: Page, selector: str, folder: Path) -> Path:
        """The file that a click on this saves, in the folder, with the name that the page gave it."""
        if self.downloads is None:
            with page.expect_download() as download:
                page.click(selector)
            saved = folder / download.value.suggested_filename
            download.value.save_as(saved)
            return saved
        before = set(self.downloads.iterdir())
        page.click(selector)
        deadline = time.monotonic() + 15
        while True:
            found = set(self.downloads.iterdir()) - before
            if len(found) == 1 and not (one := found.pop()).name.endswith(".part") and one.stat().st_size:
                return one.rename(folder / one.name)
            assert time.monotonic() < deadline, f"{selector} saved nothing"
            page.wait_for_timeout(50)

    def close(self) -> None:
        self.running.close()


class Launcher:
    """Starts one engine; `launch(microphone)` with this WAV as its microphone, or without any."""

    def __init__(self, engine: str, playwright: Playwright, scratch: Path) -> None:
        self.engine = engine
        self._playwright = playwright
        self._scratch = scratch
        found = [path for name in COMMANDS[engine] if (path := shutil.which(name))]
        if not found:
            package = COMMANDS[engine][0]
            pytest.skip(f"no {engine} found: install one (apt-get install {package}) to test the page in it")
        self._command = found[0]
        self._launched: list[Browser] = []
        self._loudspeaker = DeafLoudspeaker(scratch) if engine == "firefox" else None

    def __call__(self, microphone: Path | None = None, *, dark: bool = False, still: bool = False) -> Browser:
        """`dark`: the person prefers a dark page; `still`: as little motion as can be."""
        start = self._firefox if self.engine == "firefox" else self._chromium
        browser = start(microphone, dark, still)
        self._launched.append(browser)
        return browser

    def close(self) -> None:
        """Close whatever a test left open."""
        for browser in self._launched:
            browser.close()
        if self._loudspeaker:
            self._loudspeaker.close()

    def _chromium(self, microphone: Path | None, dark: bool, still: bool) -> Browser:
        flags = list(CHROMIUM_FLAGS)
        if microphone:
            flags += [
                "--use-fake-device-for-media-stream",
                "--use-fake-ui-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
            ]
        context = {
            "color_scheme": "dark" if dark else "light",
            "reduced_motion": "reduce" if still else "no-preference",
        }
        running = self._playwright.chromium.launch(executable_path=self._command, args=flags)
        return Browser("chromium", running, context)

    def _firefox(self, microphone: Path | None, dark: bool, still: bool) -> Browser:
        bridge = self._scratch / "firefox"
        command = shlex.join([sys.executable, "-m", "tests.page.firefox_bridge", self._command])
        bridge.write_text(f'#!/bin/sh\ncd {shlex.quote(str(ROOT))}\nexec {command} "$@"\n')
        bridge.chmod(0o755)
        downloads = self._scratch / "downloads"
        downloads.mkdir(exist_ok=True)
        preferences = {
            **FIREFOX_PREFERENCES,
            "media.navigator.streams.fake": microphone is not None,
            "ui.prefersReducedMotion": int(still),
            "layout.css.prefers-color-scheme.content-override": 0 if dark else 1,
        }
        assert self._loudspeaker
        running = self._playwright.firefox.launch(
            channel="moz-firefox",
            executable_path=bridge,
            firefox_user_prefs=preferences,
            env=self._loudspeaker.environment,
            downloads_path=downloads,
            timeout=90_000,
        )
        script = NO_MICROPHONE
        if microphone:
            script = FILE_AS_MICROPHONE % base64.b64encode(microphone.read_bytes()).decode()
        return Browser("firefox", running, {}, script, downloads)
