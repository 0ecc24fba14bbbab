"""Compiled work that threads share."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from model.kernels.threads import claim, finish, new_counters, on_threads, threads_for, wait_for
from model.vectors import compiled


@compiled()
def _phases(counters, phases, tasks, done, sums):  # type: ignore[no-untyped-def]
    """Each task of a phase adds up what the phase before it wrote."""
    for phase in range(phases):
        while True:
            task = claim(counters, phase)
            if task >= tasks:
                break
            before = np.int64(1) if phase == 0 else sums[phase - 1].sum()
            sums[phase, task] = before
            done[phase, task] += 1
            finish(counters, phase)
        wait_for(counters, phase, tasks)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_task_is_done_once_and_after_those_of_the_phase_before(threads: int) -> None:
    phases, tasks = 12, 3
    for _ in range(50):
        counters = new_counters(phases)
        done, sums = np.zeros((phases, tasks), np.int64), np.zeros((phases, tasks), np.int64)
        on_threads(lambda: _phases(counters, phases, tasks, done, sums), threads)  # noqa: B023
        assert (done == 1).all()
        assert (sums == 3 ** np.arange(phases)[:, None]).all()


def test_an_error_of_another_thread_is_raised() -> None:
    caller, begun = threading.get_ident(), threading.Event()

    def work() -> None:
        if threading.get_ident() == caller:
            assert begun.wait(10)
        else:
            begun.set()
            raise ArithmeticError("in the other thread")

    with pytest.raises(ArithmeticError, match="in the other thread"):
        on_threads(work, 2)


def test_no_more_threads_than_tasks() -> None:
    assert threads_for(1) == 1
    assert threads_for(0) == 1
