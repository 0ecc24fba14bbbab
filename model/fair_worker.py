"""One thread that does long jobs for many clients, none of whom waits for all the jobs of another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from model.fair_queue import FairQueue

PASSES = 3
"""Jobs of each other client that may pass one job which makes way."""

Result = TypeVar("Result")


@dataclass(eq=False)
class _Job:
    client: Hashable | None
    work: Callable[[], Any]
    future: Future[Any] = field(default_factory=Future)
    passed_by: Counter[Hashable] = field(default_factory=Counter)

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            self.future.set_result(self.work())
        except BaseException as error:  # noqa: BLE001 - told to the one who waits for it
            self.future.set_exception(error)


class FairWorker:
    """Takes jobs of clients in turn. A job that calls `make_way` now and then keeps nobody waiting for its end: jobs of
    other clients are done within that call, on the same thread."""

    def __init__(self, name: str) -> None:
        self._queue: FairQueue[_Job] = FairQueue()
        self._changed = threading.Condition()
        self._stopped = False
        self._running: list[_Job] = []
        """The job in progress, then the one that it makes way for."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, client: Hashable | None, work: Callable[[], Result]) -> Future[Result]:
        """Do this in turn; cancelling the future drops work that has not begun."""
        job = _Job(client, work)
        with self._changed:
            if self._stopped:
                job.future.cancel()
            else:
                self._queue.push(client, job)
                self._changed.notify()
        return job.future

    def make_way(self) -> None:
        """From within a job: do what others wait for, before going on. Each other client passes `PASSES` times at most,
        and who passes is not passed."""
        if len(self._running) != 1:
            return
        running = self._running[0]
        while (job := self._pop(lambda job: self._passes(job, running))) is not None:
            running.passed_by[job.client] += 1
            self._do(job)

    @property
    def crowded(self) -> bool:
        """Whether more work waits of the client whose job is being done."""
        with self._changed:
            return bool(self._running) and self._queue.waits(self._running[-1].client)

    def stop(self) -> None:
        """Begin no other job; those that wait are cancelled."""
        with self._changed:
            self._stopped = True
            for job in self._queue:
                job.future.cancel()
            self._queue = FairQueue()
            self._changed.notify()

    @staticmethod
    def _passes(job: _Job, running: _Job) -> bool:
        return job.client != running.client and running.passed_by[job.client] < PASSES

    def _pop(self, ready: Callable[[_Job], bool]) -> _Job | None:
        with self._changed:
            return self._queue.pop(ready)

    def _do(self, job: _Job) -> None:
        with self._changed:
            self._running.append(job)
        try:
            job.run()
        finally:
            with self._changed:
                self._running.pop()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or len(self._queue))
                if self._stopped:
                    return
                job = self._queue.pop()
            if job is not None:
                self._do(job)
