"""Compiled work shared among threads: tasks that are claimed one by one, and phases that end when all are done.

A phase is a number of tasks. A thread claims the next task, does it and reports it done; when none is left it waits,
spinning, until those that others hold are done. A thread that the system has put aside between two tasks holds nobody
up: the others do its share. Counters are int64, one cache line apart.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from model.vectors import compiled

_LINE = 8
"""int64 of a cache line."""
_SPINS = 2000
"""Turns of waiting before the processor is given to another thread: some 50 µs."""


def new_counters(phases: int) -> np.ndarray:
    """Two counters for each phase: tasks claimed and tasks done."""
    return np.zeros(2 * phases * _LINE, np.int64)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="kernel")


def on_threads(work: Callable[[], Any], threads: int) -> None:
    """Run `work` on this thread and on `threads` - 1 others at the same time; return when all have left it.

    What one of them raises is raised here.
    """
    waiting = [_pool().submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        waiting = [one for one in waiting if not one.cancel()]  # who has not begun is not needed any more
        wait(waiting)
    for one in waiting:
        one.result()


def threads_for(tasks: int) -> int:
    """Threads that so many tasks are worth, of those that PyTorch may use."""
    return max(1, min(torch.get_num_threads(), tasks))


def _counter(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(data, [builder.mul(arguments[1], ir.Constant(arguments[1].type, _LINE))])


@intrinsic
def _add_one(_typing, counters, index):  # type: ignore[no-untyped-def]
    """Add 1 to a counter, atomically; return what it was."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        place = _counter(context, builder, signature, arguments)
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counters, types.intp), generate


@intrinsic
def _read(_typing, counters, index):  # type: ignore[no-untyped-def]
    """A counter as it is now, whoever wrote it."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_counter(context, builder, signature, arguments), "acquire", 8)

    return types.int64(counters, types.intp), generate


@intrinsic
def _give_way(_typing):  # type: ignore[no-untyped-def]
    """Let another thread have the processor (POSIX `sched_yield`)."""

    def generate(_context, builder, _signature, _arguments):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])

    return types.int32(), generate


@compiled(inline="always")
def claim(counters, phase):  # type: ignore[no-untyped-def]
    """The next task of a phase; one that is not there when all are taken."""
    return _add_one(counters, 2 * phase)


@compiled(inline="always")
def finish(counters, phase):  # type: ignore[no-untyped-def]
    """Report a claimed task done."""
    _add_one(counters, 2 * phase + 1)


@compiled()
def wait_for(counters, phase, tasks):  # type: ignore[no-untyped-def]
    """Return when all tasks of a phase are done; what they wrote is seen from then on."""
    spins = 0
    while _read(counters, 2 * phase + 1) < tasks:
        spins += 1
        if spins > _SPINS:
            _give_way()
