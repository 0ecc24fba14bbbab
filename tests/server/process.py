"""A server in a process of its own, as users start it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ServerProcess:
    """A server of its own process; its log is read to the end by a thread."""

    process: subprocess.Popen[str]
    log: list[str] = field(default_factory=list)
    address: str = ""
    ready: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Of `/ws`."""
        return f"ws://{self.address}/ws"

    def read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"running on http://([\d.:]+)", line):
                self.address = found[1]
            if '"ready"' in line or self.process.poll() is not None:
                self.ready.set()
        self.ready.set()


@contextmanager
def server_process(*arguments: str) -> Iterator[ServerProcess]:
    """`python -m server` with the embedded model on a free port, once it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "server", "--port", "0", "--log-format", "json", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    running = ServerProcess(process)
    reader = threading.Thread(target=running.read_log, daemon=True)
    reader.start()
    try:
        assert running.ready.wait(240), "the model did not become ready"
        assert process.poll() is None, "".join(running.log)
        yield running
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)
        reader.join(10)
        assert process.stderr is not None
        process.stderr.close()
