"""The browser that measurements and recordings of the page use."""

from __future__ import annotations

import shutil

FLAGS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


class NoBrowserError(OSError):
    """None is installed; the message says how to change that."""


def chromium() -> str:
    """Its program. Raises `NoBrowserError`."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise NoBrowserError("no Chromium found; on Debian: apt-get install chromium")
    return found
