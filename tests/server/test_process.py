"""A real process: it serves, and ends on a signal with exit code 0."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.server.harness import client, kinds


async def _start(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """A server with a scripted generator in a process of its own → the process and its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.server.scripted", "--port", "0", "--log-format", "json", *arguments,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while line := (await process.stderr.readline()).decode():
            if found := re.search(r"running on http://([\d.:]+)", line):
                return process, f"ws://{found[1]}/ws"
    raise AssertionError("the server did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_answer_end_and_exits_with_0(number: signal.Signals) -> None:
    process, url = await _start()
    async with client(url) as c:
        await c.start()
        await c.send("text", text="hello")
        await c.until("text_delta")
        began = time.monotonic()
        process.send_signal(number)
        messages = await c.until("response_done")
        assert isinstance(messages[-1], dict)
        assert messages[-1]["reason"] == "stop"
        assert kinds([await c.receive()]) == ["error"]
        await c.socket.wait_closed()
        assert c.socket.close_code == 1012
        _, _ = await process.communicate()
    assert process.returncode == 0
    assert time.monotonic() - began < 10


def test_a_bad_setting_exits_with_2_and_names_the_flag() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "server", "--port", "99999"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "--port" in result.stderr
