"""Dense layers over rows that may overlap in memory, so that a convolution is one of them: compiled, on one thread.

For networks too small for a library: what PyTorch spends on calling its operations is then most of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor, nn

from model.kernels.processor import MANY_REGISTERS
from model.vectors import (
    FLOATS,
    HALVES,
    LANES,
    compiled,
    element_pointer,
    fused,
    in_every_lane,
    load_vector,
)


def packed(weight: np.ndarray, bias: np.ndarray, dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, inputs) → pairs of tiles of 16 outputs, (outputs / 32, inputs, 32) laid flat, and the padded bias.

    float16 weights are held in uint16: half the memory, the sums are float32's.
    """
    outputs, inputs = weight.shape
    padded = np.zeros((-(-outputs // (2 * LANES)) * 2 * LANES, inputs), np.float32)
    padded[:outputs] = weight
    room = np.zeros(len(padded), np.float32)
    room[:outputs] = bias
    flat: np.ndarray = np.ascontiguousarray(padded.reshape(-1, 2 * LANES, inputs).swapaxes(1, 2)).ravel().astype(dtype)
    return flat.view(np.uint16) if dtype is np.float16 else flat, room


def numbers(tensor: Tensor) -> np.ndarray:
    """A weight as float32 for compiled code."""
    values: np.ndarray = tensor.detach().float().cpu().numpy()
    return values


def packed_layers(layers: Sequence[nn.Linear]) -> tuple[np.ndarray, np.ndarray]:
    """Linear layers of one shape, packed in float16 one after another."""
    made = []
    for layer in layers:
        weight = numbers(layer.weight)
        bias = np.zeros(len(weight), np.float32) if layer.bias is None else numbers(layer.bias)
        made.append(packed(weight, bias, np.float16))
    return np.stack([weights for weights, _ in made]), np.stack([bias for _, bias in made])


@intrinsic(prefer_literal=True)
def _products(_typing, rows, x, places, row, inputs, weights, at, bias, at_bias, y, targets, shift):  # type: ignore[no-untyped-def]
    """`rows` rows (a literal) of x, each from its place on, times 32 outputs whose weights begin `at`; y from each
    row's target + shift on."""
    many = rows.literal_value
    kinds = (
        x, places, types.intp, types.intp, weights, types.intp, bias, types.intp, y, targets, types.intp,
    )  # fmt: skip

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def data(index: int) -> Any:
            return context.make_array(signature.args[index])(context, builder, arguments[index]).data

        row, inputs, at, at_bias, shift = (arguments[index] for index in (3, 4, 6, 8, 11))
        x, places, weights, bias, y, targets = (data(index) for index in (1, 2, 5, 7, 9, 10))
        count = row.type

        def weight_vector(index: Any) -> Any:
            if signature.args[5].dtype == types.float32:
                return load_vector(builder, weights, index)
            return builder.fpext(load_vector(builder, weights, index, HALVES), FLOATS)

        def plus(index: Any, constant: int) -> Any:
            return builder.add(index, ir.Constant(count, constant))

        sides = (0, LANES)
        first = [load_vector(builder, bias, plus(at_bias, side)) for side in sides]
        # LLVM makes registers of these
        sums = [[cgutils.alloca_once_value(builder, part) for part in first] for _ in range(many)]
        begins = [builder.gep(x, [builder.load(builder.gep(places, [plus(row, r)]))]) for r in range(many)]
        with cgutils.for_range(builder, inputs) as loop:
            here = builder.add(at, builder.mul(loop.index, ir.Constant(count, 2 * LANES)))
            both = [weight_vector(plus(here, side)) for side in sides]
            for begin, kept in zip(begins, sums, strict=True):
                number = in_every_lane(builder, builder.load(builder.gep(begin, [loop.index])))
                for weight, total in zip(both, kept, strict=True):
                    builder.store(fused(builder, weight, number, builder.load(total)), total)
        for r, kept in enumerate(sums):
            to = builder.add(builder.load(builder.gep(targets, [plus(row, r)])), shift)
            for side, total in zip(sides, kept, strict=True):
                builder.store(builder.load(total), element_pointer(builder, y, plus(to, side), FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(rows, *kinds), generate


@compiled()
def dense(x, places, inputs, layer, y, targets):  # type: ignore[no-untyped-def]
    """Rows of flat x that begin at `places`, times a `packed` layer, into flat y from `targets` on. A row's result is
    the same in any company."""
    weights, bias = layer
    rows = len(places)
    for tile in range(len(bias) // (2 * LANES)):
        at, shift, row = tile * 2 * LANES * inputs, tile * 2 * LANES, 0
        while row < rows:
            left = rows - row
            if MANY_REGISTERS and rows >= 8:  # the last ones may be done twice: that is quicker than fewer at a time
                row = min(row, rows - 8)
                _products(8, x, places, row, inputs, weights, at, bias, shift, y, targets, shift)
                row += 8
            elif left >= 4:
                _products(4, x, places, row, inputs, weights, at, bias, shift, y, targets, shift)
                row += 4
            elif left >= 2:
                _products(2, x, places, row, inputs, weights, at, bias, shift, y, targets, shift)
                row += 2
            else:
                _products(1, x, places, row, inputs, weights, at, bias, shift, y, targets, shift)
                row += 1


@compiled()
def row_places(count, each, apart, step, first):  # type: ignore[no-untyped-def]
    """Where rows begin: `count` groups `apart` from each other, `each` with so many rows that are `step` apart."""
    places = np.empty(count * each, np.int64)
    for one in range(count):
        for k in range(each):
            places[one * each + k] = one * apart + k * step + first
    return places
