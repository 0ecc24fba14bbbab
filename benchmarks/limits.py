"""What this machine can do at most, measured: bytes read a second, and multiply-adds a second.

Each is the best of several passes on all threads that PyTorch may use. A kernel's time is compared with the floor that
they set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_PASSES = 8
_READ_BYTES = 512 << 20
"""Larger than any cache."""
_LANES = 16
_CHAINS = 12
"""Sums that do not wait for each other: more than the instruction's latency times those begun in a cycle."""
_LOOPS = 4_000_000
_WORDS = ir.VectorType(ir.IntType(32), _LANES)

if binding.get_host_cpu_features().get("avx512vnni"):
    binding.initialize_native_asmparser()


def seconds_at_best(work: Callable[[int], object], passes: int = _PASSES) -> float:
    """The shortest time in which all threads do `work(thread)`, each its own, at the same time."""
    threads = torch.get_num_threads()
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))  # compiles, touches memory
        for _ in range(passes):
            began = time.perf_counter()
            list(pool.map(work, range(threads)))
            best = min(best, time.perf_counter() - began)
    return best


def read_bandwidth(passes: int = _PASSES) -> float:
    """Bytes a second that all threads read of a large array: a compiled sum."""
    parts = np.array_split(np.ones(_READ_BYTES // 8, np.uint64), torch.get_num_threads())
    return _READ_BYTES / seconds_at_best(lambda thread: _total(parts[thread]), passes)


def float32_peak() -> float:
    """Operations a second, two for each multiply-add, of a large float32 product of PyTorch."""
    size = 1024
    a, b = torch.ones(size, size), torch.ones(size, size)
    best = float("inf")
    for _ in range(_PASSES):
        began = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def byte_products_peak() -> float | None:
    """Multiply-adds of 8-bit integers a second: `vpdpbusd` on registers alone. None without AVX-512 VNNI."""
    if not binding.get_host_cpu_features().get("avx512vnni"):
        return None
    done = 4 * _LANES * _CHAINS * _LOOPS * torch.get_num_threads()
    return done / seconds_at_best(lambda _: _multiply(_LOOPS))


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _total(numbers):  # type: ignore[no-untyped-def]
    total = np.uint64(0)
    for index in range(len(numbers)):
        total += numbers[index]
    return total


@intrinsic  # type: ignore[untyped-decorator]
def _vnni_products(_typing, loops):  # type: ignore[no-untyped-def]
    """`loops` times `_CHAINS` instructions, each of 64 multiply-adds; the sum of one lane comes back."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_WORDS, [_WORDS, _WORDS, _WORDS])
        ones = ir.Constant(_WORDS, [0x01010101] * _LANES)
        totals = [cgutils.alloca_once_value(builder, ir.Constant(_WORDS, [0] * _LANES)) for _ in range(_CHAINS)]
        with cgutils.for_range(builder, arguments[0]):
            for place in totals:
                before = builder.load(place)
                builder.store(builder.asm(kind, "vpdpbusd $3, $2, $0", "=v,0,v,v", [before, ones, ones], True), place)
        total = builder.load(totals[0])
        for place in totals[1:]:
            total = builder.add(total, builder.load(place))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.int32(types.intp), generate


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _multiply(loops):  # type: ignore[no-untyped-def]
    return _vnni_products(loops)
