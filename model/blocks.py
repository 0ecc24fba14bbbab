"""Matrices in whole numbers of 4 or 8 bits, 32 weights to a block, multiplied with activations of 16 bits.

A weight is step · q + base; each block of 32 inputs of an output has its own step and base (float16). It is the form
that GGUF files come in (Q4_1, Q8_0, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), and a matrix that was
in it once is found to fit it again, bit for bit: nothing is lost, and a product reads 0.63 or 1.13 bytes a weight.
Other matrices are rounded to 8 bits.

Activations become whole numbers of 16 bits, each block of 32 with its own scale, which costs float32's answers nothing
(`python -m benchmarks agreement`); with 8 bits this body answers differently. One row reads every weight once and is
about as quick as memory; more rows share what is read and unpacked, tile by tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.tile_products import block_to_16_bits, tile_products
from model.vectors import LANES, MANY_REGISTERS, compiled

BLOCK = 32
"""Weights that share a step and a base."""
THREADED_ROWS = 8
"""From so many rows on a product is shared among threads: less would cost more in waiting than it saves."""


class BlockMatrix:
    """A linear layer's weight, packed: tiles of 16 outputs, each a run of blocks.

    `words` holds q of 16 outputs side by side, 8 or 4 successive inputs in each uint32, as `_shifts` says;
    `steps` and `bases` are float16 in uint16.
    """

    def __init__(self, weight: Tensor) -> None:
        """`weight` (outputs, inputs), any float dtype."""
        exact = weight.detach().cpu().float().numpy()
        outputs, inputs = exact.shape
        padded = np.zeros((-(-outputs // LANES) * LANES, -(-inputs // BLOCK) * BLOCK), np.float32)
        padded[:outputs, :inputs] = exact
        self._hold(outputs, inputs, *_pack(padded.reshape(len(padded), -1, BLOCK)))

    @classmethod
    def from_gguf(cls, kind: str, rows: np.ndarray) -> BlockMatrix:
        """A matrix as it stands in a GGUF file, (outputs, bytes) uint8, `kind` Q4_1 or Q8_0; outputs in sixteens.

        Raises `ValueError` for other kinds and shapes.
        """
        if kind not in ("Q4_1", "Q8_0") or len(rows) % LANES:
            raise ValueError(f"{len(rows)} outputs in {kind} cannot be taken as they are: give the numbers")
        if kind == "Q4_1":
            blocks = rows.reshape(len(rows), -1, 20)
            steps, bases = (blocks[..., at : at + 2].copy().view(np.float16)[..., 0] for at in (0, 2))
            q = np.concatenate([blocks[..., 4:] & 15, blocks[..., 4:] >> 4], -1)
        else:
            blocks = rows.reshape(len(rows), -1, 34)
            steps = blocks[..., :2].copy().view(np.float16)[..., 0]
            q, bases = blocks[..., 2:] ^ 128, (steps * np.float16(-128))  # signed → counted from -128
        matrix = cls.__new__(cls)
        matrix._hold(len(rows), q.shape[1] * BLOCK, 4 if kind == "Q4_1" else 8, q, steps, bases)
        return matrix

    def _hold(self, outputs: int, inputs: int, bits: int, q: np.ndarray, steps: np.ndarray, bases: np.ndarray) -> None:
        self.outputs, self.inputs, self.bits = outputs, inputs, bits
        self.tiles, self.blocks = len(q) // LANES, q.shape[1]
        self.words = _lay_out(q, bits, self.tiles, self.blocks)
        self.steps, self.bases = (
            part.reshape(self.tiles, LANES, self.blocks).swapaxes(1, 2).ravel().view(np.uint16)
            for part in (steps, bases)
        )

    @property
    def nbytes(self) -> int:
        """Bytes that one product reads."""
        return int(self.words.nbytes + self.steps.nbytes + self.bases.nbytes)

    def __call__(self, x: Tensor) -> Tensor:
        """(…, inputs) float32 → (…, outputs) float32."""
        rows = x.reshape(-1, self.inputs).contiguous().numpy()
        if self.blocks * BLOCK != self.inputs:
            rows = np.pad(rows, ((0, 0), (0, self.blocks * BLOCK - self.inputs)))
        y = np.empty((len(rows), self.tiles * LANES), np.float32)
        work = partial(multiply, self.bits, self.words, self.steps, self.bases, rows, y)
        in_parts(work, self.tiles, 1 if len(rows) >= THREADED_ROWS else self.tiles)
        return torch.from_numpy(y)[:, : self.outputs].reshape(*x.shape[:-1], self.outputs)

    def rows(self, outputs: Tensor) -> Tensor:
        """The weights of some outputs (…,) → (…, inputs) float32."""
        index = outputs.reshape(-1).numpy()
        tile, lane = index // LANES, index % LANES
        words = self.words.reshape(self.tiles, -1, LANES)[tile, :, lane]
        q = (words[..., None] >> _shifts(self.bits)) & np.uint32(2**self.bits - 1)
        steps, bases = (
            part.view(np.float16).reshape(self.tiles, -1, LANES)[tile, :, lane].astype(np.float64)[..., None]
            for part in (self.steps, self.bases)
        )
        exact = q.reshape(len(index), -1, BLOCK) * steps + bases
        kept = exact.astype(np.float32).reshape(len(index), -1)[:, : self.inputs]
        return torch.from_numpy(kept).reshape(*outputs.shape, self.inputs)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="product")


def in_parts(work: Callable[[int, int], None], count: int, least: int) -> None:
    """Run `work(first, last)` over 0 … `count` on as many threads as PyTorch may use, `least` or more for each."""
    threads = max(1, min(torch.get_num_threads(), count // least))
    (first, last), *others = itertools.pairwise(count * part // threads for part in range(threads + 1))
    waiting = [_pool().submit(work, *cut) for cut in others]
    try:
        work(first, last)
    finally:
        wait(waiting)
    for one in waiting:
        one.result()


# -- packing ----------------------------------------------------------------------------------------------------------
def _pack(values: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(outputs, blocks, 32) → bits, q, steps, bases: the first form that loses nothing, else rounded to 8 bits."""
    low, high = values.min(-1), values.max(-1)
    q = np.empty(values.shape, np.uint8)
    for bits, step, from_zero in ((4, (high - low) / 15, False), (8, np.maximum(high, -low) / 127, True)):
        steps = step.astype(np.float16)
        bases = (-128 * steps.astype(np.float32) if from_zero else low).astype(np.float16)
        if _fit(values, steps.astype(np.float32), bases.astype(np.float32), 2**bits - 1, True, q):
            return bits, q, steps, bases
    bases = _towards(low, -np.inf)
    steps = _towards((high - bases.astype(np.float32)) / 255, np.inf)
    _fit(values, steps.astype(np.float32), bases.astype(np.float32), 255, False, q)
    return 8, q, steps, bases


def _towards(values: np.ndarray, limit: float) -> np.ndarray:
    """The nearest float16 that lies on this side."""
    halves = values.astype(np.float16)
    beyond = halves.astype(np.float32) < values if limit > 0 else halves.astype(np.float32) > values
    return np.where(beyond, np.nextafter(halves, np.float16(limit)), halves)


@compiled()
def _fit(values, steps, bases, most, exactly, q):  # type: ignore[no-untyped-def]
    """The nearest q of each value; with `exactly`, False at the first whose step · q + base is not it to the bit."""
    for row in range(values.shape[0]):
        for block in range(values.shape[1]):
            step, base = steps[row, block], bases[row, block]
            scale = np.float32(1) / step if step > 0 else np.float32(0)
            for k in range(BLOCK):
                found = min(max(np.rint((values[row, block, k] - base) * scale), np.float32(0)), np.float32(most))
                if exactly and step * found + base != values[row, block, k]:
                    return False
                q[row, block, k] = np.uint8(found)
    return True


def _shifts(bits: int) -> np.ndarray:
    """Where the successive inputs of a word stand in it: each two of them half a word apart."""
    places = np.arange(32 // bits, dtype=np.uint32)
    return bits * (places // 2) + 16 * (places % 2)


def _lay_out(q: np.ndarray, bits: int, tiles: int, blocks: int) -> np.ndarray:
    """(outputs, blocks, 32) → one uint32 for 32 / bits inputs of an output, sixteen outputs side by side."""
    held = 32 // bits
    words = np.zeros((tiles, LANES, blocks * bits), np.uint32)
    split = q.reshape(tiles, LANES, -1, held)
    for place, shift in enumerate(_shifts(bits)):
        words |= split[..., place].astype(np.uint32) << shift
    return np.ascontiguousarray(words.swapaxes(1, 2)).ravel()


# -- products, compiled -----------------------------------------------------------------------------------------------
@compiled()
def multiply(bits, words, steps, bases, x, y, first, last):  # type: ignore[no-untyped-def]
    """x (rows, 32 · blocks) times tiles `first` … `last` of a matrix → the same tiles of y (rows, 16 · tiles)."""
    pairs, scales, sums = to_16_bits(x)
    blocks, flat = x.shape[1] // BLOCK, y.ravel()  # a view: y is contiguous
    if bits == 4:
        _multiply_4(words, steps, bases, blocks, pairs, scales, sums, flat, x.shape[0], first, last)
    else:
        _multiply_8(words, steps, bases, blocks, pairs, scales, sums, flat, x.shape[0], first, last)


@compiled()
def to_16_bits(x):  # type: ignore[no-untyped-def]
    """x (rows, 32 · blocks) as whole numbers of ±32767, each block with a scale and the sum of its numbers.

    A word holds two successive inputs. Rows that are multiplied together lie side by side, in all three results:
    (block, pair, row of the group). What is not finite makes a scale that is not finite, and so the result.
    """
    rows, blocks = x.shape[0], x.shape[1] // BLOCK
    pairs = np.empty(rows * blocks * BLOCK // 2, np.uint32)
    scales, sums = np.empty(rows * blocks, np.float32), np.empty(rows * blocks, np.float32)
    flat, row = x.ravel(), 0  # a view
    while row < rows:
        group = _group(rows - row)
        for member in range(group):
            at = (row + member) * blocks * BLOCK
            for block in range(blocks):
                to = row * blocks + block * group
                block_to_16_bits(flat, at + block * BLOCK, pairs, group, scales, sums, to, member)
        row += group
    return pairs, scales, sums


@compiled(inline="always")
def _group(rows):  # type: ignore[no-untyped-def]
    """Of so many rows, how many are multiplied together next."""
    if MANY_REGISTERS and rows >= 8:
        return 8
    return 4 if rows >= 4 else 2 if rows >= 2 else 1


def _multiplier(bits: int) -> Any:
    @compiled()
    def multiply_bits(words, steps, bases, blocks, pairs, scales, sums, y, rows, first, last):  # type: ignore[no-untyped-def]
        width = len(y) // rows
        for tile in range(first, last):
            row, begin, at = 0, tile * blocks, tile * LANES
            while row < rows:
                group, to = _group(rows - row), row * width + at
                if group == 8:
                    tile_products(8, bits, words, steps, bases, begin, blocks, pairs, scales, sums, row, y, to, width)
                elif group == 4:
                    tile_products(4, bits, words, steps, bases, begin, blocks, pairs, scales, sums, row, y, to, width)
                elif group == 2:
                    tile_products(2, bits, words, steps, bases, begin, blocks, pairs, scales, sums, row, y, to, width)
                else:
                    tile_products(1, bits, words, steps, bases, begin, blocks, pairs, scales, sums, row, y, to, width)
                row += group

    return multiply_bits


_multiply_4, _multiply_8 = _multiplier(4), _multiplier(8)
