"""Positions through a whole Llama or Qwen2 body, as one compiled call.

A step of one row is bound by memory, and hundreds of small tensor operations would take as long as reading the weights;
here they are loops over buffers that stay in the cache. Several sequences share the threads, a long one takes two.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from model.blocks import BLOCK, THREADED_ROWS, BlockMatrix, in_parts, multiply
from model.cache import SlotCache
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


class BodyStep:
    """The matrices of all layers in one piece of memory, and the norms and angles between them."""

    def __init__(
        self,
        matrices: Sequence[Sequence[BlockMatrix]],
        norms: Tensor,
        biases: Tensor,
        last_norm: Tensor,
        angles: tuple[Tensor, Tensor],
        heads: tuple[int, int],
        eps: float,
    ) -> None:
        """`matrices` of each layer: qkv, out, gate_up, down. `norms` (layers, 2, width), `biases` (layers, qkv) or
        (layers, 0), `angles` cosine and sine (positions, head_dim / 2), `heads` of queries and of keys.

        The matrices' own arrays become views of the joined ones.
        """
        flat = [matrix for layer in matrices for matrix in layer]
        table = np.zeros((len(matrices), 4, 4), np.int64)
        joined = []
        for name in ("words", "steps", "bases"):
            joined.append(np.concatenate([getattr(matrix, name) for matrix in flat]))
        word = scale = 0
        for index, matrix in enumerate(flat):
            table[index // 4, index % 4] = matrix.bits, word, scale, matrix.tiles
            words, scales = len(matrix.words), len(matrix.steps)
            matrix.words = joined[0][word : word + words]
            matrix.steps, matrix.bases = (part[scale : scale + scales] for part in joined[1:])
            word, scale = word + words, scale + scales
        self._layers = range(len(matrices))
        self._weights = (table, *joined)
        self._small = tuple(t.float().contiguous().numpy() for t in (norms, biases, last_norm, *angles))
        self._numbers = (*heads, 2 * angles[0].shape[1], matrices[0][3].inputs, np.float32(eps))

    def __call__(self, x: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache) -> Tensor:
        """(n, steps, width) at rising `positions` (n, steps) of rows (n,) of a float16 cache → normed states."""
        longest = int(positions.max())
        if longest >= cache.window:
            raise ValueError(f"position {longest} is outside the window of {cache.window} positions")
        state = x.reshape(-1, x.shape[-1]).clone().numpy()
        keys, values = (kept.view(torch.uint16).numpy() for kept in (cache.all_keys, cache.all_values))
        places = positions.reshape(-1).numpy()
        slots = rows.repeat_interleave(positions.shape[1]).numpy()

        def work(first: int, last: int, layers: range) -> None:
            """Some positions through some layers."""
            _step(
                layers.start, layers.stop, *self._weights, *self._small, *self._numbers, keys, values,
                slots[first:last], places[first:last], state[first:last],
            )  # fmt: skip

        count, steps, _ = x.shape
        if count > 1:  # a thread takes whole sequences, for their positions see one another
            least = max(1, -(-THREADED_ROWS // (2 * steps)))
            in_parts(lambda first, last: work(first * steps, last * steps, self._layers), count, least)
        elif steps >= 2 * THREADED_ROWS and torch.get_num_threads() > 1:
            self._in_turns(work, steps)
        else:
            work(0, steps, self._layers)
        return torch.from_numpy(state).view(x.shape)

    def _in_turns(self, work: Callable[[int, int, range], None], steps: int) -> None:
        """One sequence on two threads: the later half of its positions follows the earlier a layer behind, whose keys
        and values it reads."""
        half = steps // 2 + steps // 16  # who is later has more to look back on
        done = threading.Semaphore(0)

        def earlier() -> None:
            try:
                for layer in self._layers:
                    work(0, half, range(layer, layer + 1))
                    done.release()
            finally:  # nobody waits for what broke
                done.release(len(self._layers))

        def later() -> None:
            for layer in self._layers:
                done.acquire()
                work(half, steps, range(layer, layer + 1))

        in_parts(lambda first, _: (earlier, later)[first](), 2, 1)


@compiled(fastmath=ANY_ORDER)
def _step(  # type: ignore[no-untyped-def]
    first_layer, end_layer, table, words, steps, bases, norms, biases, last_norm, cos, sin,
    heads, groups, head_dim, inner, eps, keys, values, rows, positions, x,
):  # fmt: skip
    count, width = x.shape
    normed = np.zeros((count, -(-width // BLOCK) * BLOCK), np.float32)
    seen = np.zeros((count, -(-heads * head_dim // BLOCK) * BLOCK), np.float32)
    active = np.zeros((count, -(-inner // BLOCK) * BLOCK), np.float32)
    qkv = np.empty((count, table[0, 0, 3] * LANES), np.float32)
    added = np.empty((count, table[0, 1, 3] * LANES), np.float32)
    gates = np.empty((count, table[0, 2, 3] * LANES), np.float32)
    scores = np.empty(positions.max() + 1, np.float32)
    for layer in range(first_layer, end_layer):
        for row in range(count):
            norm(x[row], norms[layer, 0], eps, normed[row])
        _product(table[layer, 0], words, steps, bases, normed, qkv)
        for row in range(count):  # in order: a prompt's positions see those before them
            here, place, slot = qkv[row], positions[row], rows[row]
            for k in range(biases.shape[1]):
                here[k] += biases[layer, k]
            for head in range(heads + groups):
                rotate(here[head * head_dim : (head + 1) * head_dim], cos[place], sin[place])
            for group in range(groups):
                at, to = (heads + group) * head_dim, place * head_dim
                key_of, value_of = keys[layer, slot, group].ravel(), values[layer, slot, group].ravel()  # views
                for k in range(0, head_dim, LANES):
                    store_halves(key_of, to + k, load(here, at + k))
                    store_halves(value_of, to + k, load(here, at + groups * head_dim + k))
            for head in range(heads):
                group = head // (heads // groups)
                part = slice(head * head_dim, (head + 1) * head_dim)
                of = scores[: place + 1]
                attend(here[part], keys[layer, slot, group], values[layer, slot, group], of, seen[row, part])
        _product(table[layer, 1], words, steps, bases, seen, added)
        for row in range(count):
            for k in range(width):
                x[row, k] += added[row, k]
            norm(x[row], norms[layer, 1], eps, normed[row])
        _product(table[layer, 2], words, steps, bases, normed, gates)
        for row in range(count):
            gate(gates[row], inner, active[row])
        _product(table[layer, 3], words, steps, bases, active, added)
        for row in range(count):
            for k in range(width):
                x[row, k] += added[row, k]
    if end_layer == len(table):
        for row in range(count):
            norm(x[row], last_norm, eps, x[row])


@compiled()
def _product(entry, words, steps, bases, x, y):  # type: ignore[no-untyped-def]
    bits, word, scale, tiles = entry[0], entry[1], entry[2], entry[3]
    scales = tiles * (x.shape[1] // BLOCK) * LANES
    end = scale + scales
    multiply(bits, words[word : word + scales * bits], steps[scale:end], bases[scale:end], x, y, 0, tiles)


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
def gate(gates, inner, y):  # type: ignore[no-untyped-def]
    """SiLU of the first half times the second half."""
    gates, others, y = gates[:inner], gates[inner : 2 * inner], y[:inner]
    for k in range(inner):  # in two loops: LLVM does many at once only so
        y[k] = exponential(-gates[k])
    for k in range(inner):
        y[k] = gates[k] / (np.float32(1) + y[k]) * others[k]
