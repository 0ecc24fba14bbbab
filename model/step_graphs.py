"""Steps of one position at fixed shapes: recorded once as a CUDA graph for each size, then replayed.

A step of a small body on a GPU is hundreds of kernels of a few microseconds, which Python starts more slowly than they
run. A graph starts them all at once, but its shapes are fixed: rows are filled up to the next power of two (the rest
write to a row of their own that nobody reads), the past to the next power of two of positions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from model.cache import SlotCache

SHORTEST = 128
"""Positions that a graph sees at least."""

Run = Callable[[Tensor, Tensor, Tensor, SlotCache, int], Tensor]
"""(n, 1, width) at positions (n, 1) of rows (n,), whose first so many positions are looked at → (n, 1, width)."""


def size_for(count: int, least: int, most: int) -> int:
    """The power of two from `least` on that holds `count`, or `most`."""
    size = least
    while size < count:
        size *= 2
    return min(size, most)


class _Graph:
    """One size: buffers that its kernels read and write."""

    def __init__(self, run: Run, x: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache, length: int) -> None:
        self._run, self._cache, self._length = run, cache, length
        self._given = (x.clone(), positions.clone(), rows.clone())
        self._graph: torch.cuda.CUDAGraph | None = None
        if x.device.type == "cuda":
            self._record(x.device)

    def _record(self, device: torch.device) -> None:
        aside = torch.cuda.Stream(device)  # what libraries make on first use must not be recorded
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._run(*self._given, self._cache, self._length)
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # the codec's thread works meanwhile
            self._out = self._run(*self._given, self._cache, self._length)

    def __call__(self, x: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        count, spare = len(x), self._cache.spare
        for kept, new, rest in zip(self._given, (x, positions, rows), (0, 0, spare), strict=True):
            kept[:count] = new
            kept[count:] = rest
        if self._graph is None:  # not a GPU: the same sums, for tests
            return self._run(*self._given, self._cache, self._length)[:count].clone()
        self._graph.replay()
        return self._out[:count].clone()


class StepGraphs:
    """The graphs of one body over one cache."""

    def __init__(self, run: Run, cache: SlotCache) -> None:
        self._run, self.cache = run, cache
        self._graphs: dict[tuple[int, int], _Graph] = {}

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Rows and positions of what was recorded so far."""
        return sorted(self._graphs)

    @torch.inference_mode()
    def __call__(self, x: Tensor, positions: Tensor, rows: Tensor) -> Tensor:
        """(n, 1, width) at `positions` (n, 1) of cache rows (n,) → (n, 1, width)."""
        count = size_for(len(x), 1, self.cache.slots)
        longest = int(positions.max())
        if longest >= self.cache.window:
            raise ValueError(f"position {longest} is outside the window of {self.cache.window} positions")
        length = size_for(longest + 1, SHORTEST, self.cache.window)
        if (count, length) not in self._graphs:
            empty, first = x.new_zeros(count, *x.shape[1:]), positions.new_zeros(count, 1)
            spare = rows.new_full((count,), self.cache.spare)
            self._graphs[count, length] = _Graph(self._run, empty, first, spare, self.cache, length)
        return self._graphs[count, length](x, positions, rows)
