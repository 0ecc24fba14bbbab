"""A real server, as a user starts it: `python -m server` in a process of its own, on a free port of this machine."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from benchmarks.process_memory import Memory
from benchmarks.report import ROOT

START_LIMIT_S = 180.0


class ServerFailed(RuntimeError):
    """The server did not become ready, or a measurement broke; the message ends with what the server logged."""


@dataclass(frozen=True)
class ServerProcess:
    """A server that is ready."""

    port: int
    process: psutil.Process
    ready_s: float
    """Seconds from starting the process until `/ready` said yes."""

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/models", timeout=10) as response:
            return str(json.load(response)["data"][0]["id"])

    def memory(self) -> Memory:
        """What is in RAM now, and how much of it is shared."""
        return Memory.of(self.process)

    def resident_mb(self) -> float:
        """Memory of the process that is in RAM now, MB (10^6 bytes)."""
        return float(self.process.memory_info().rss) / 1e6

    def core_s(self) -> float:
        """Seconds of a core that the process has taken so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def server(*flags: str) -> Iterator[ServerProcess]:
    """Start a server with these flags, wait until it is ready, and end it afterwards.

    Raises `ServerFailed` when it ends before that or takes longer than three minutes.
    """
    port = _free_port()
    command = [sys.executable, "-m", "server", "--host", "127.0.0.1", "--port", str(port), *flags]
    with tempfile.TemporaryFile("w+") as log:
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.monotonic() - began > START_LIMIT_S:
                    log.seek(0)
                    raise ServerFailed(f"{' '.join(command)} did not become ready:\n{log.read()[-4000:]}")
                time.sleep(0.02)
            try:
                yield ServerProcess(port, psutil.Process(process.pid), time.monotonic() - began)
            except Exception as error:
                log.seek(0)
                raise ServerFailed(
                    f"{error!r}; exit status {process.poll()}; the server logged:\n{log.read()[-4000:]}"
                ) from error
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as response:
            return bool(json.load(response)["ready"])
    except (urllib.error.URLError, OSError):
        return False
