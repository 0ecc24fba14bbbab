"""Matrices in whole numbers of 4 or 8 bits, 32 weights to a block, multiplied with float32 activations.

A weight is step · q + base; each block of 32 inputs of an output has its own step and base (float16). It is the form
that GGUF files come in (Q4_1, Q8_0, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), and a matrix that was
in it once is found to fit it again, bit for bit: nothing is lost, and a product reads 0.63 or 1.13 bytes a weight.
Other matrices are rounded to 8 bits.

One product of one row reads every weight once and is as quick as memory; more rows share the unpacking, tile by tile.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from model.vectors import (
    ANY_ORDER,
    LANES,
    add,
    broadcast,
    compiled,
    field,
    host_features,
    load,
    load_halves,
    load_same,
    load_words,
    multiply_add,
    prefetch,
    store,
)

BLOCK = 32
"""Weights that share a step and a base."""
MANY_REGISTERS = bool(host_features().get("avx512f"))
"""There is room for sixteen sums of sixteen numbers at once."""
SHARED_ROWS = 3 if MANY_REGISTERS else 4
"""Rows that are multiplied together; with fewer, one after another from the packed form."""
PANEL = 4
"""Blocks of a tile that are unpacked at once: two such panels and a few rows of x stay in the nearest cache."""
AHEAD = 4096
"""Words ahead of those being unpacked that are brought near: with arithmetic in between, the processor does not see
them come."""
THREADED_ROWS = 8
"""From so many rows on a product is shared among threads: less would cost more in waiting than it saves."""


class BlockMatrix:
    """A linear layer's weight, packed: tiles of 16 outputs, each a run of blocks.

    `words` holds q of 16 outputs side by side, 8 or 4 successive inputs in each uint32, lowest bits first;
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
        shifts = np.arange(0, 32, self.bits, dtype=np.uint32)
        q = (words[..., None] >> shifts) & np.uint32(2**self.bits - 1)
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


def _lay_out(q: np.ndarray, bits: int, tiles: int, blocks: int) -> np.ndarray:
    """(outputs, blocks, 32) → one uint32 for 32 / bits inputs of an output, sixteen outputs side by side."""
    held = 32 // bits
    words = np.zeros((tiles, LANES, blocks * bits), np.uint32)
    split = q.reshape(tiles, LANES, -1, held)
    for place in range(held):
        words |= split[..., place].astype(np.uint32) << np.uint32(place * bits)
    return np.ascontiguousarray(words.swapaxes(1, 2)).ravel()


# -- products, compiled -----------------------------------------------------------------------------------------------
@compiled(fastmath=ANY_ORDER)
def multiply(bits, words, steps, bases, x, y, first, last):  # type: ignore[no-untyped-def]
    """x (rows, 32 · blocks) times tiles `first` … `last` of a matrix → the same tiles of y (rows, 16 · tiles)."""
    rows, blocks = x.shape[0], x.shape[1] // BLOCK
    if rows < SHARED_ROWS:
        row = 0
        while row + 2 <= rows:
            _multiply_two(bits, words, steps, bases, x[row : row + 2], y[row : row + 2], first, last)
            row += 2
        if row < rows:
            _multiply_row(bits, words, steps, bases, x[row], y[row], first, last)
        return
    panel, other = np.empty(PANEL * BLOCK * LANES, np.float32), np.empty(PANEL * BLOCK * LANES, np.float32)
    flat = y.ravel()  # a view: y is contiguous
    for row in range(rows):
        flat[row * y.shape[1] + first * LANES : row * y.shape[1] + last * LANES] = np.float32(0)
    tile = first
    while tile < last:
        two = tile + 1 < last
        for start in range(0, blocks, PANEL):
            count = min(PANEL, blocks - start)
            _unpack(bits, words, steps, bases, tile * blocks + start, count, panel)
            if two:
                _unpack(bits, words, steps, bases, (tile + 1) * blocks + start, count, other)
            _add_products(x, start * BLOCK, count * BLOCK, panel, other, two, flat, tile * LANES, y.shape[1])
        tile += 2


@compiled(inline="always")
def _add_products(x, start, count, panel, other, two, y, at, width):  # type: ignore[no-untyped-def]
    """Some columns of all rows times the unpacked part of a tile, or of `two`, added to y."""
    rows, inputs, row = x.shape[0], x.shape[1], 0
    flat = x.ravel()  # a view
    if MANY_REGISTERS and two:
        while row + 8 <= rows:
            _add_eight(flat, row * inputs + start, inputs, count, panel, other, y, row * width + at, width)
            row += 8
    while row < rows:
        if MANY_REGISTERS and two:
            _add_four_by_two(flat, row, start, inputs, count, panel, other, y, at, width, rows - 1)
        else:
            _add_four(flat, row, start, inputs, count, panel, y, at, width, rows - 1)
            if two:
                _add_four(flat, row, start, inputs, count, other, y, at + LANES, width, rows - 1)
        row += 4


@compiled()
def _add_eight(x, at_x, inputs, count, panel, other, y, at, width):  # type: ignore[no-untyped-def]
    """Eight rows by two tiles: sixteen sums in registers, so that a number that is loaded is used eight times."""
    a, b, c, d = _load_four(y, at, width)
    e, f, g, h = _load_four(y, at + 4 * width, width)
    i, j, k, l = _load_four(y, at + LANES, width)  # noqa: E741
    m, n, o, p = _load_four(y, at + LANES + 4 * width, width)
    for column in range(count):
        v, w = load(panel, column * LANES), load(other, column * LANES)
        one = load_same(x, at_x + column)
        a, i = multiply_add(v, one, a), multiply_add(w, one, i)
        one = load_same(x, at_x + inputs + column)
        b, j = multiply_add(v, one, b), multiply_add(w, one, j)
        one = load_same(x, at_x + 2 * inputs + column)
        c, k = multiply_add(v, one, c), multiply_add(w, one, k)
        one = load_same(x, at_x + 3 * inputs + column)
        d, l = multiply_add(v, one, d), multiply_add(w, one, l)  # noqa: E741
        one = load_same(x, at_x + 4 * inputs + column)
        e, m = multiply_add(v, one, e), multiply_add(w, one, m)
        one = load_same(x, at_x + 5 * inputs + column)
        f, n = multiply_add(v, one, f), multiply_add(w, one, n)
        one = load_same(x, at_x + 6 * inputs + column)
        g, o = multiply_add(v, one, g), multiply_add(w, one, o)
        one = load_same(x, at_x + 7 * inputs + column)
        h, p = multiply_add(v, one, h), multiply_add(w, one, p)
    _store_four(y, at, width, a, b, c, d)
    _store_four(y, at + 4 * width, width, e, f, g, h)
    _store_four(y, at + LANES, width, i, j, k, l)
    _store_four(y, at + LANES + 4 * width, width, m, n, o, p)


@compiled()
def _add_four(x, row, start, inputs, count, panel, y, at, width, last):  # type: ignore[no-untyped-def]
    """Four rows by a tile. Past the `last` row there is none: that one is done again, with the same result."""
    k, m, n = min(row + 1, last), min(row + 2, last), min(row + 3, last)
    at_a, at_b, at_c, at_d = row * width + at, k * width + at, m * width + at, n * width + at
    a, b, c, d = load(y, at_a), load(y, at_b), load(y, at_c), load(y, at_d)
    x_a, x_b, x_c, x_d = row * inputs + start, k * inputs + start, m * inputs + start, n * inputs + start
    for column in range(count):
        w = load(panel, column * LANES)
        a = multiply_add(w, load_same(x, x_a + column), a)
        b = multiply_add(w, load_same(x, x_b + column), b)
        c = multiply_add(w, load_same(x, x_c + column), c)
        d = multiply_add(w, load_same(x, x_d + column), d)
    store(y, at_a, a)
    store(y, at_b, b)
    store(y, at_c, c)
    store(y, at_d, d)


@compiled()
def _add_four_by_two(x, row, start, inputs, count, panel, other, y, at, width, last):  # type: ignore[no-untyped-def]
    """The same by two tiles: eight sums, so that one need not wait for the last."""
    k, m, n = min(row + 1, last), min(row + 2, last), min(row + 3, last)
    at_a, at_b, at_c, at_d = row * width + at, k * width + at, m * width + at, n * width + at
    a, b, c, d = load(y, at_a), load(y, at_b), load(y, at_c), load(y, at_d)
    e, f, g, h = load(y, at_a + LANES), load(y, at_b + LANES), load(y, at_c + LANES), load(y, at_d + LANES)
    x_a, x_b, x_c, x_d = row * inputs + start, k * inputs + start, m * inputs + start, n * inputs + start
    for column in range(count):
        v, w = load(panel, column * LANES), load(other, column * LANES)
        one = load_same(x, x_a + column)
        a, e = multiply_add(v, one, a), multiply_add(w, one, e)
        one = load_same(x, x_b + column)
        b, f = multiply_add(v, one, b), multiply_add(w, one, f)
        one = load_same(x, x_c + column)
        c, g = multiply_add(v, one, c), multiply_add(w, one, g)
        one = load_same(x, x_d + column)
        d, h = multiply_add(v, one, d), multiply_add(w, one, h)
    store(y, at_a, a)
    store(y, at_b, b)
    store(y, at_c, c)
    store(y, at_d, d)
    store(y, at_a + LANES, e)
    store(y, at_b + LANES, f)
    store(y, at_c + LANES, g)
    store(y, at_d + LANES, h)


@compiled(inline="always")
def _load_four(y, at, width):  # type: ignore[no-untyped-def]
    """The same sixteen columns of four rows."""
    return load(y, at), load(y, at + width), load(y, at + 2 * width), load(y, at + 3 * width)


@compiled(inline="always")
def _store_four(y, at, width, a, b, c, d):  # type: ignore[no-untyped-def]
    store(y, at, a)
    store(y, at + width, b)
    store(y, at + 2 * width, c)
    store(y, at + 3 * width, d)


@compiled()
def _unpack(bits, words, steps, bases, first, blocks, panel):  # type: ignore[no-untyped-def]
    """Some blocks of a tile, counted from the matrix's first → (32 · blocks, 16) in `panel`."""
    for block in range(blocks):
        at = (first + block) * LANES
        step, base = load_halves(steps, at), load_halves(bases, at)
        prefetch(steps, at + AHEAD // bits)
        prefetch(bases, at + AHEAD // bits)
        to = block * BLOCK * LANES
        if bits == 4:
            for part in range(4):
                w = load_words(words, at * 4 + part * LANES)
                prefetch(words, at * 4 + part * LANES + AHEAD)
                store(panel, to, multiply_add(field(w, 0xF, 0), step, base))
                store(panel, to + LANES, multiply_add(field(w, 0xF, 4), step, base))
                store(panel, to + 2 * LANES, multiply_add(field(w, 0xF, 8), step, base))
                store(panel, to + 3 * LANES, multiply_add(field(w, 0xF, 12), step, base))
                store(panel, to + 4 * LANES, multiply_add(field(w, 0xF, 16), step, base))
                store(panel, to + 5 * LANES, multiply_add(field(w, 0xF, 20), step, base))
                store(panel, to + 6 * LANES, multiply_add(field(w, 0xF, 24), step, base))
                store(panel, to + 7 * LANES, multiply_add(field(w, 0xF, 28), step, base))
                to += 8 * LANES
        else:
            for part in range(8):
                w = load_words(words, at * 8 + part * LANES)
                prefetch(words, at * 8 + part * LANES + AHEAD)
                store(panel, to, multiply_add(field(w, 0xFF, 0), step, base))
                store(panel, to + LANES, multiply_add(field(w, 0xFF, 8), step, base))
                store(panel, to + 2 * LANES, multiply_add(field(w, 0xFF, 16), step, base))
                store(panel, to + 3 * LANES, multiply_add(field(w, 0xFF, 24), step, base))
                to += 4 * LANES


@compiled(fastmath=ANY_ORDER)
def _multiply_row(bits, words, steps, bases, x, y, first, last):  # type: ignore[no-untyped-def]
    """One row, straight from the packed form.

    Bits are not moved to the right place: the input that they meet is divided by the power of two instead, which is
    exact. Only the highest bits, which hold the sign, are moved. The base meets the sum of a block's inputs.
    """
    blocks = len(x) // BLOCK
    scaled, sums = _prepare(bits, x)
    for tile in range(first, last):
        total = broadcast(np.float32(0))
        for block in range(blocks):
            at = (tile * blocks + block) * LANES
            if bits == 4:
                part = _block_of_4_bits(words, at * 4, scaled, block * BLOCK)
            else:
                part = _block_of_8_bits(words, at * 8, scaled, block * BLOCK)
            total = multiply_add(load_halves(steps, at), part, total)
            total = multiply_add(load_halves(bases, at), broadcast(sums[block]), total)
        store(y, tile * LANES, total)


@compiled(fastmath=ANY_ORDER)
def _prepare(bits, x):  # type: ignore[no-untyped-def]
    """x divided by the powers of two that weights are too large by where they stand; the sums of its blocks."""
    sums = np.empty(len(x) // BLOCK, np.float32)
    for block in range(len(sums)):
        total = np.float32(0)
        for k in range(BLOCK):
            total += x[block * BLOCK + k]
        sums[block] = total
    scaled = np.empty(len(x), np.float32)
    held = 32 // bits
    for k in range(0, len(x), held):
        power = np.float32(1)
        for place in range(held - 1):
            scaled[k + place] = x[k + place] * power
            power /= np.float32(1 << bits)
        scaled[k + held - 1] = x[k + held - 1]
    return scaled, sums


@compiled(fastmath=ANY_ORDER)
def _multiply_two(bits, words, steps, bases, x, y, first, last):  # type: ignore[no-untyped-def]
    """The same for two rows, each weight read once."""
    blocks = x.shape[1] // BLOCK
    one, sums_a = _prepare(bits, x[0])
    other, sums_b = _prepare(bits, x[1])
    for tile in range(first, last):
        total_a = total_b = broadcast(np.float32(0))
        for block in range(blocks):
            at = (tile * blocks + block) * LANES
            if bits == 4:
                a, b = _two_blocks_of_4_bits(words, at * 4, one, other, block * BLOCK)
            else:
                a, b = _two_blocks_of_8_bits(words, at * 8, one, other, block * BLOCK)
            step, base = load_halves(steps, at), load_halves(bases, at)
            total_a = multiply_add(base, load_same(sums_a, block), multiply_add(step, a, total_a))
            total_b = multiply_add(base, load_same(sums_b, block), multiply_add(step, b, total_b))
        store(y[0], tile * LANES, total_a)
        store(y[1], tile * LANES, total_b)


@compiled(inline="always")
def _block_of_4_bits(words, at, x, k):  # type: ignore[no-untyped-def]
    a = b = broadcast(np.float32(0))
    for part in range(4):
        w = load_words(words, at + part * LANES)
        a = multiply_add(field(w, 0xF, 0), broadcast(x[k]), a)
        b = multiply_add(field(w, 0xF0, 0), broadcast(x[k + 1]), b)
        a = multiply_add(field(w, 0xF00, 0), broadcast(x[k + 2]), a)
        b = multiply_add(field(w, 0xF000, 0), broadcast(x[k + 3]), b)
        a = multiply_add(field(w, 0xF0000, 0), broadcast(x[k + 4]), a)
        b = multiply_add(field(w, 0xF00000, 0), broadcast(x[k + 5]), b)
        a = multiply_add(field(w, 0xF000000, 0), broadcast(x[k + 6]), a)
        b = multiply_add(field(w, 0xF, 28), broadcast(x[k + 7]), b)
        k += 8
    return add(a, b)


@compiled(inline="always")
def _block_of_8_bits(words, at, x, k):  # type: ignore[no-untyped-def]
    a = b = broadcast(np.float32(0))
    for part in range(8):
        w = load_words(words, at + part * LANES)
        a = multiply_add(field(w, 0xFF, 0), broadcast(x[k]), a)
        b = multiply_add(field(w, 0xFF00, 0), broadcast(x[k + 1]), b)
        a = multiply_add(field(w, 0xFF0000, 0), broadcast(x[k + 2]), a)
        b = multiply_add(field(w, 0xFF, 24), broadcast(x[k + 3]), b)
        k += 4
    return add(a, b)


@compiled(inline="always")
def _two_blocks_of_4_bits(words, at, x, y, k):  # type: ignore[no-untyped-def]
    a = b = broadcast(np.float32(0))
    for part in range(4):
        w = load_words(words, at + part * LANES)
        q = field(w, 0xF, 0)
        a, b = multiply_add(q, load_same(x, k), a), multiply_add(q, load_same(y, k), b)
        q = field(w, 0xF0, 0)
        a, b = multiply_add(q, load_same(x, k + 1), a), multiply_add(q, load_same(y, k + 1), b)
        q = field(w, 0xF00, 0)
        a, b = multiply_add(q, load_same(x, k + 2), a), multiply_add(q, load_same(y, k + 2), b)
        q = field(w, 0xF000, 0)
        a, b = multiply_add(q, load_same(x, k + 3), a), multiply_add(q, load_same(y, k + 3), b)
        q = field(w, 0xF0000, 0)
        a, b = multiply_add(q, load_same(x, k + 4), a), multiply_add(q, load_same(y, k + 4), b)
        q = field(w, 0xF00000, 0)
        a, b = multiply_add(q, load_same(x, k + 5), a), multiply_add(q, load_same(y, k + 5), b)
        q = field(w, 0xF000000, 0)
        a, b = multiply_add(q, load_same(x, k + 6), a), multiply_add(q, load_same(y, k + 6), b)
        q = field(w, 0xF, 28)
        a, b = multiply_add(q, load_same(x, k + 7), a), multiply_add(q, load_same(y, k + 7), b)
        k += 8
    return a, b


@compiled(inline="always")
def _two_blocks_of_8_bits(words, at, x, y, k):  # type: ignore[no-untyped-def]
    a = b = broadcast(np.float32(0))
    for part in range(8):
        w = load_words(words, at + part * LANES)
        q = field(w, 0xFF, 0)
        a, b = multiply_add(q, load_same(x, k), a), multiply_add(q, load_same(y, k), b)
        q = field(w, 0xFF00, 0)
        a, b = multiply_add(q, load_same(x, k + 1), a), multiply_add(q, load_same(y, k + 1), b)
        q = field(w, 0xFF0000, 0)
        a, b = multiply_add(q, load_same(x, k + 2), a), multiply_add(q, load_same(y, k + 2), b)
        q = field(w, 0xFF, 24)
        a, b = multiply_add(q, load_same(x, k + 3), a), multiply_add(q, load_same(y, k + 3), b)
        k += 4
    return a, b
