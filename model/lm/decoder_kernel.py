"""A whole Llama, Qwen2 or Qwen3 decoder as one compiled call, on as many threads as PyTorch may use.

A step of one sequence is bound by memory, and hundreds of small tensor operations would take as long as reading the
weights. Here every layer is eight phases of tasks (`model.kernels.threads`): norms, the products of q, k and v, rotary
positions and the cache, attention, and so on. Threads share every phase, so both read weights all the time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.cache import SlotCache
from model.kernels.block_quantized import (
    GROUP,
    group_of,
    multiply_tile,
    multiply_tiles_into,
    new_activations,
    new_room,
    open_tiles,
    quantize_row,
    tiles_open,
)
from model.kernels.int_gemm import BLOCK, quantize_block, tile_bytes
from model.kernels.threads import claim, finish, new_counters, on_threads, threads_for, wait_for
from model.lm.decoder_weights import DecoderWeights
from model.vectors import (
    ANY_ORDER,
    LANES,
    add,
    broadcast,
    compiled,
    exponential,
    load,
    load_halves,
    multiply_add,
    prefetch,
    store,
    store_halves,
    total_of,
)

_PHASES = 8
"""Phases of a layer."""
_AT_ONCE = 16
"""Positions that are unpacked at once for attention: they stay in the first cache."""
_Q, _OUT, _GATE, _DOWN = 0, 3, 4, 6
"""Where in `MATRICES` these stand."""


class DecoderKernel:
    """Runs a decoder over a float16 `SlotCache`. A position's result does not depend on what is computed with it."""

    dtype = torch.float32
    """Of hidden states."""
    cache_dtype = torch.float16
    """Of keys and values: reading them is what a late step waits for."""
    format = "int8"
    """How the matrices are held, as a `WeightFormat`."""

    def __init__(self, weights: DecoderWeights) -> None:
        self.weights = weights
        self.layers = len(weights.matrices)
        self.head_dim = 2 * len(weights.frequencies)
        if not self.fits(weights.heads, weights.groups, self.head_dim):
            raise ValueError(
                f"{weights.heads} heads of {self.head_dim} numbers in {weights.groups} groups are not computed by the "
                f"kernels: a head must be a multiple of {LANES} and a group one of {BLOCK} numbers"
            )
        flat = [[(m.form, m.address, m.tiles, m.blocks) for m in layer] for layer in weights.matrices]
        self._table = np.array(flat, np.int64)
        small = (weights.norms, weights.last_norm, weights.biases, weights.head_norms)
        self._small = tuple(part.detach().float().contiguous().numpy() for part in small)
        self._rotation = self._rotations(0)

    @property
    def nbytes(self) -> int:
        """Bytes of the matrices, which one position reads once."""
        return sum(matrix.nbytes for layer in self.weights.matrices for matrix in layer)

    @staticmethod
    def fits(heads: int, groups: int, head_dim: int) -> bool:
        """Whether heads of this size are computed here."""
        return head_dim % LANES == 0 and heads // groups * head_dim % BLOCK == 0

    def _rotations(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosine and sine of the rotation at every position of a window."""
        angles = torch.arange(window).float()[:, None] * self.weights.frequencies.float()
        return angles.cos().numpy(), angles.sin().numpy()

    def __call__(self, x: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache) -> Tensor:
        """(n, steps, width) at rising `positions` (n, steps) of rows (n,) of a float16 cache → normed states."""
        longest = int(positions.max())
        if longest >= cache.window:
            raise ValueError(f"position {longest} is outside the window of {cache.window} positions")
        if len(self._rotation[0]) < cache.window:
            self._rotation = self._rotations(cache.window)
        state = x.reshape(-1, x.shape[-1]).float().clone().numpy()
        count, table = len(state), self._table
        keys, values = (kept.view(torch.uint16).numpy() for kept in (cache.all_keys, cache.all_values))
        places = positions.reshape(-1).numpy()
        slots = rows.repeat_interleave(positions.shape[1]).numpy()
        narrow = max(int(table[:, _Q, 3].max()), int(table[:, _OUT, 3].max()))  # blocks
        near, far = new_activations(count * narrow), new_activations(count * int(table[:, _DOWN, 3].max()))
        qkv = np.empty((count, int(table[0, _Q:_OUT, 2].sum()) * LANES), np.float32)
        counters = new_counters(self.layers * _PHASES + 1)
        weights = self.weights
        sizes = (weights.heads, weights.groups, self.head_dim, np.float32(weights.eps))

        def work() -> None:
            _forward(
                counters, table, *self._small, *self._rotation, *sizes,
                keys, values, slots, places, state, qkv, *near, *far,
            )  # fmt: skip

        on_threads(work, threads_for(count * weights.groups + 1))
        return torch.from_numpy(state).view(x.shape)


@compiled(fastmath=ANY_ORDER)
def _forward(  # type: ignore[no-untyped-def]
    counters, table, norms, last_norm, biases, head_norms, cos, sin, heads, groups, head_dim, eps,
    keys, values, slots, positions, x, qkv, words, scales, far_words, far_scales,
):  # fmt: skip
    """What one thread does of all phases."""
    count = len(x)
    own = heads // groups
    seen, room = np.empty(own * head_dim, np.float32), np.empty(_AT_ONCE * head_dim, np.float32)
    scores = np.empty((own, positions.max() + 1), np.float32)
    opened = new_room(count, table[:, :, 3].max())
    phase = 0
    for layer in range(len(table)):
        _norms(counters, phase, x, norms[layer, 0], eps, table[layer, _Q, 3], words, scales)
        _products(counters, phase + 1, table[layer, _Q:_OUT], words, scales, qkv, False, opened)
        while True:
            row = claim(counters, phase + 2)
            if row >= count:
                break
            place, slot = positions[row], slots[row]
            _position(qkv[row], biases[layer], head_norms[layer], cos[place], sin[place], heads, groups, head_dim, eps)
            _keep(qkv[row], keys[layer, slot], values[layer, slot], place, heads, groups, head_dim)
            finish(counters, phase + 2)
        wait_for(counters, phase + 2, count)
        while True:
            task = claim(counters, phase + 3)
            if task >= count * groups:
                break
            row, group = task // groups, task % groups
            begin, of = group * own * head_dim, scores[:, : positions[row] + 1]
            queries = qkv[row, begin : begin + own * head_dim]
            attend_together(queries, keys[layer, slots[row], group], values[layer, slots[row], group], of, room, seen)
            blocks = own * head_dim // BLOCK
            _quantize_part(seen, row, count, group * blocks, blocks, groups * blocks, words, scales)
            finish(counters, phase + 3)
        wait_for(counters, phase + 3, count * groups)
        _products(counters, phase + 4, table[layer, _OUT : _OUT + 1], words, scales, x, True, opened)
        _norms(counters, phase + 5, x, norms[layer, 1], eps, table[layer, _GATE, 3], words, scales)
        _gated(counters, phase + 6, table[layer, _GATE:_DOWN], words, scales, count, far_words, far_scales, opened)
        _products(counters, phase + 7, table[layer, _DOWN:], far_words, far_scales, x, True, opened)
        phase += _PHASES
    while True:
        row = claim(counters, phase)
        if row >= count:
            break
        norm(x[row], last_norm, eps, x[row])
        finish(counters, phase)
    wait_for(counters, phase, count)


# -- phases -----------------------------------------------------------------------------------------------------------
@compiled(fastmath=ANY_ORDER)
def _norms(counters, phase, x, weight, eps, blocks, words, scales):  # type: ignore[no-untyped-def]
    """Norm every row of x and quantise it for the next product. A task is a row."""
    normed = np.zeros(blocks * BLOCK, np.float32)
    while True:
        row = claim(counters, phase)
        if row >= len(x):
            break
        norm(x[row], weight, eps, normed)
        quantize_row(normed, row, len(x), blocks, words, scales)
        finish(counters, phase)
    wait_for(counters, phase, len(x))


@compiled()
def _products(counters, phase, entries, words, scales, y, adding, opened):  # type: ignore[no-untyped-def]
    """All rows times some matrices, side by side in y, or added to it. A task is a few tiles."""
    tiles = entries[:, 2].sum()
    chunk = max(np.int64(1), tiles // 16)
    tasks = (tiles + chunk - 1) // chunk
    while True:
        task = claim(counters, phase)
        if task >= tasks:
            break
        begin, end, first = task * chunk, min(tiles, (task + 1) * chunk), 0
        for matrix in range(len(entries)):
            form, blocks = entries[matrix, 0], entries[matrix, 3]
            from_, to = max(begin - first, 0), min(end - first, entries[matrix, 2])  # of this matrix's tiles
            if from_ < to:
                place, column = entries[matrix, 1] + from_ * tile_bytes(form, blocks), (first + from_) * LANES
                multiply_tiles_into(form, place, to - from_, blocks, words, scales, y, column, adding, opened)
            first += entries[matrix, 2]
        finish(counters, phase)
    wait_for(counters, phase, tasks)


@compiled(fastmath=ANY_ORDER)
def _gated(counters, phase, entries, words, scales, rows, far_words, far_scales, opened):  # type: ignore[no-untyped-def]
    """SiLU of the gates times the others, quantised for the last product. A task is a few blocks of 32 of them."""
    tiles, blocks = entries[0, 2], entries[0, 3]
    units = (tiles + 1) // 2
    chunk = max(np.int64(1), units // 16)
    tasks = (units + chunk - 1) // chunk
    at_once = max(1, tiles_open(blocks, rows, opened) // 4)
    found, active = np.empty((4, GROUP * LANES), np.float32), np.empty((2, GROUP * LANES), np.float32)
    pair = np.empty(BLOCK, np.float32)
    while True:
        task = claim(counters, phase)
        if task >= tasks:
            break
        end = min(units, (task + 1) * chunk)
        for begin in range(task * chunk, end, at_once):
            here = min(at_once, end - begin)
            for matrix in range(2):
                form, number = entries[matrix, 0], min(2 * here, tiles - 2 * begin)
                place = entries[matrix, 1] + 2 * begin * tile_bytes(form, blocks)
                open_tiles(form, place, number, blocks, rows, opened, matrix * 2 * here)
            row = 0
            while row < rows:
                _, size = group_of(row, rows)
                for unit in range(begin, begin + here):
                    for part in range(4):
                        form, tile = entries[part // 2, 0], 2 * unit + part % 2
                        if tile < tiles:
                            place = entries[part // 2, 1] + tile * tile_bytes(form, blocks)
                            number = part // 2 * 2 * here + tile - 2 * begin
                            multiply_tile(
                                form, place, blocks, words, scales, row, size, rows, opened, number, found[part]
                            )
                        else:
                            found[part] = np.float32(0)
                    for half in range(2):
                        gate(found[half, : size * LANES], found[2 + half, : size * LANES], active[half])
                    for member in range(size):
                        for half in range(2):
                            store(pair, half * LANES, load(active[half], member * LANES))
                        quantize_block(pair, 0, far_words, far_scales, row * units + unit * size + member)
                row += size
        finish(counters, phase)
    wait_for(counters, phase, tasks)


@compiled(fastmath=ANY_ORDER)
def _position(here, biases, head_norms, cos, sin, heads, groups, head_dim, eps):  # type: ignore[no-untyped-def]
    """q, k and v of a position: their biases, the norms of q and k, and its rotation."""
    for k in range(len(biases)):
        here[k] += biases[k]
    for head in range(heads + groups):
        part = here[head * head_dim : (head + 1) * head_dim]
        if head_norms.shape[1] > 0:
            norm(part, head_norms[0 if head < heads else 1], eps, part)
        rotate(part, cos, sin)


@compiled()
def _keep(here, keys, values, place, heads, groups, head_dim):  # type: ignore[no-untyped-def]
    """A position's keys and values into its slot's cache (groups, window, head_dim), float16 in uint16."""
    for group in range(groups):
        at, to = (heads + group) * head_dim, place * head_dim
        key_of, value_of = keys[group].ravel(), values[group].ravel()  # views
        for k in range(0, head_dim, LANES):
            store_halves(key_of, to + k, load(here, at + k))
            store_halves(value_of, to + k, load(here, at + groups * head_dim + k))


@compiled()
def _quantize_part(x, row, rows, first, count, blocks, words, scales):  # type: ignore[no-untyped-def]
    """x (32 · count,) as the blocks from `first` on of row `row`, of `blocks` in all."""
    begin, size = group_of(row, rows)
    for block in range(count):
        to = begin * blocks + (first + block) * size + row - begin
        quantize_block(x, block * BLOCK, words, scales, to)


# -- parts of a layer -------------------------------------------------------------------------------------------------
@compiled(fastmath=ANY_ORDER)
def norm(x, weight, eps, y):  # type: ignore[no-untyped-def]
    """Root-mean-square norm of x (width,) → the first of y."""
    total = np.float32(0)
    for k in range(len(x)):
        total += x[k] * x[k]
    factor = np.float32(1) / np.sqrt(total / np.float32(len(x)) + eps)
    for k in range(len(x)):
        y[k] = x[k] * factor * weight[k]


@compiled(fastmath=ANY_ORDER)
def rotate(x, cos, sin):  # type: ignore[no-untyped-def]
    half = len(cos)
    for k in range(half):
        a, b = x[k], x[k + half]
        x[k] = a * cos[k] - b * sin[k]
        x[k + half] = b * cos[k] + a * sin[k]


@compiled(fastmath=ANY_ORDER)
def attend(query, keys, values, scores, y):  # type: ignore[no-untyped-def]
    """One head over the first positions of its keys and values (window, head_dim), float16 in uint16; `scores`
    (positions,) is scratch."""
    width, count = len(query), len(scores)
    scale = np.float32(1) / np.sqrt(np.float32(width))
    flat, later = keys.ravel(), values.ravel()  # views
    highest = np.float32(-np.inf)
    for t in range(count):
        product = broadcast(np.float32(0))
        for k in range(0, width, LANES):
            product = multiply_add(load(query, k), load_halves(flat, t * width + k), product)
            prefetch(flat, (t + 16) * width + k)
            prefetch(later, t * width + k)
        scores[t] = total_of(product) * scale
        highest = max(highest, scores[t])
    total = np.float32(0)
    for t in range(count):
        scores[t] = exponential(scores[t] - highest)
        total += scores[t]
    share = np.float32(1) / total
    for t in range(count):
        scores[t] *= share
    flat = values.ravel()
    for k in range(0, width, LANES):
        a = b = c = d = broadcast(np.float32(0))  # four, so that one need not wait for the last
        t = 0
        while t + 4 <= count:
            at = t * width + k
            a = multiply_add(load_halves(flat, at), broadcast(scores[t]), a)
            b = multiply_add(load_halves(flat, at + width), broadcast(scores[t + 1]), b)
            c = multiply_add(load_halves(flat, at + 2 * width), broadcast(scores[t + 2]), c)
            d = multiply_add(load_halves(flat, at + 3 * width), broadcast(scores[t + 3]), d)
            t += 4
        while t < count:
            a = multiply_add(load_halves(flat, t * width + k), broadcast(scores[t]), a)
            t += 1
        store(y, k, add(add(a, b), add(c, d)))


@compiled(fastmath=ANY_ORDER)
def attend_together(queries, keys, values, scores, room, y):  # type: ignore[no-untyped-def]
    """Heads that share keys and values (window, head_dim), float16 in uint16, over the first positions of them.

    `queries` and `y` hold the heads one after another. `scores` (heads, positions) and `room` (16 · head_dim,) are
    scratch: each key is unpacked once for all heads.
    """
    own, count = scores.shape
    width = keys.shape[1]
    scale = np.float32(1) / np.sqrt(np.float32(width))
    for first in range(0, count, _AT_ONCE):
        here = min(_AT_ONCE, count - first)
        _unpack(keys, first, here, room)
        for head in range(own):
            query = queries[head * width : (head + 1) * width]
            for t in range(here):
                product = broadcast(np.float32(0))
                for k in range(0, width, LANES):
                    product = multiply_add(load(query, k), load(room, t * width + k), product)
                scores[head, first + t] = total_of(product) * scale
    for head in range(own):
        of = scores[head]
        highest, total = of.max(), np.float32(0)
        for t in range(count):
            of[t] = exponential(of[t] - highest)
            total += of[t]
        share = np.float32(1) / total
        for t in range(count):
            of[t] *= share
    y[: own * width] = np.float32(0)
    for first in range(0, count, _AT_ONCE):
        here = min(_AT_ONCE, count - first)
        _unpack(values, first, here, room)
        for head in range(own):
            for k in range(0, width, LANES):
                a, b = load(y, head * width + k), broadcast(np.float32(0))  # two, so that one need not wait
                t = 0
                while t + 2 <= here:
                    a = multiply_add(load(room, t * width + k), broadcast(scores[head, first + t]), a)
                    b = multiply_add(load(room, (t + 1) * width + k), broadcast(scores[head, first + t + 1]), b)
                    t += 2
                if t < here:
                    a = multiply_add(load(room, t * width + k), broadcast(scores[head, first + t]), a)
                store(y, head * width + k, add(a, b))


@compiled()
def _unpack(rows, first, count, room):  # type: ignore[no-untyped-def]
    """Some rows of float16 as float32, one after another in `room`."""
    flat, width = rows.ravel(), rows.shape[1]  # a view
    for k in range(first * width, (first + count) * width, LANES):
        store(room, k - first * width, load_halves(flat, k))
        prefetch(flat, k + 2 * _AT_ONCE * width)


@compiled(fastmath=ANY_ORDER)
def gate(gates, others, y):  # type: ignore[no-untyped-def]
    """SiLU of the gates times the others → the first of y."""
    for k in range(len(gates)):  # in two loops: LLVM does many at once only so
        y[k] = exponential(-gates[k])
    for k in range(len(gates)):
        y[k] = gates[k] / (np.float32(1) + y[k]) * others[k]
