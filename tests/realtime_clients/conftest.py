"""One server with the embedded model for all clients, and ears that do not know what was said."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.ears import Ears
from tests.realtime_clients.harness import ROOT, Scenario, converse
from tests.server.process import server_process


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Where a server with the embedded model listens."""
    with server_process() as server:
        yield f"http://{server.address}"


@pytest.fixture(scope="session")
def ears() -> Ears:
    """Whisper base as it was published."""
    return Ears.open()


@pytest.fixture(scope="session")
def conversations(url: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Scenario | str]]:
    """A driver's name → what came of its conversations, which are held once."""

    @functools.cache
    def hold(driver: str) -> dict[str, Scenario | str]:
        out: Path = tmp_path_factory.mktemp(driver.replace(".", "_"))
        return converse(driver, url, ROOT / "examples", out)

    return hold
