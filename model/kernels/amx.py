"""Integer matrix products with AMX: a tile of a quantised matrix times up to 16 rows of activations.

`tdpbsud` multiplies 16 rows of signed bytes with the bytes of 16 outputs. A tile register holds the weights of a block
as they are unpacked: vectors v0 … v7 (`model.kernels.int_gemm`) are its rows. A product of a block takes two
instructions for all rows, one for the high and one for the low bytes of the activations, where `vpdpbusd` takes 16 a
row. A tile of the matrix is unpacked once for all rows, into `room`: for each block its eight vectors of weights and
two vectors of float32, its step and base (or, in `K6`, the steps of its halves).

Sums are the same integers as without AMX, and the float32 operations the same in the same order: so are the results.

Instructions: Intel's Architecture Instruction Set Extensions Programming Reference, chapter 3
(https://www.intel.com/content/www/us/en/developer/articles/technical/intel-sdm.html).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from model.kernels.int_gemm import (
    ACTIVATION_SCALES,
    ACTIVATION_WORDS,
    BITS,
    K6,
    VECTORS,
    Emitter,
    add_block,
    parts_of_block,
    unpack,
    walk_tile,
)
from model.vectors import FLOATS, LANES, WORDS, element_pointer, same

ROWS = 16
"""Rows that one instruction multiplies at most."""
_VECTOR = 4 * LANES
"""Bytes of a vector."""
ROOM = (VECTORS + 2) * _VECTOR
"""Bytes of a block in `room`."""
_MEMBER = 4 * ACTIVATION_WORDS
"""Bytes from a row's block of activations to the next row's."""
_LOW = 4 * VECTORS
"""Bytes from the high to the low bytes of a block of activations."""
_BYTE = ir.IntType(8)


@intrinsic(prefer_literal=True)
def unpack_tile(_typing, form, address, blocks, room):  # type: ignore[no-untyped-def]
    """Unpack a tile of a matrix to the address `room`, which is a multiple of 64; `form` is a literal."""
    format_ = form.literal_value

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        tiles, to = (builder.inttoptr(arguments[index], _BYTE.as_pointer()) for index in (1, 3))

        def keep(block: Any, here: Any, first: Any, second: Any) -> None:
            begin = emit.times(block, ROOM)
            for index, vector in enumerate([*unpack(emit, tiles, here, BITS[format_]), first, second]):
                place = element_pointer(builder, to, emit.plus(begin, index * _VECTOR), vector.type)
                builder.store(vector, place).align = _VECTOR

        walk_tile(emit, tiles, arguments[2], format_, keep)
        return context.get_dummy_value()

    return types.void(form, types.intp, types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def unpacked_products(_typing, most, halves, rows, room, blocks, words, scales, first, y):  # type: ignore[no-untyped-def]
    """`rows` rows of activations times the tile at the address `room`; the sums go to the first 16 · `most` places of
    `y`.

    `most` (a literal) is at least `rows`: so many rows have their sums in registers, and what comes of those that are
    not there means nothing. `halves` (a literal) says that the tile's format is `K6`. Activations are as for
    `tile_products`; their scales may be read up to 16 blocks past the end.
    """
    many, halved = most.literal_value, halves.literal_value
    format_ = K6 if halved else 0
    numbers = (types.intp, types.intp, types.intp, words, scales, types.intp, y)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        rows, room, blocks, first = (arguments[index] for index in (2, 3, 4, 7))
        words, scales, y = (emit.data(index) for index in (5, 6, 8))
        tiles = builder.inttoptr(room, _BYTE.as_pointer())
        totals = [cgutils.alloca_once_value(builder, same(FLOATS, 0.0)) for _ in range(many)]
        found = cgutils.alloca_once(builder, WORDS, size=4 * ROWS)
        found.align = _VECTOR
        _configure(builder, rows, VECTORS // 2 if halved else VECTORS)
        last = builder.sub(blocks, ir.Constant(emit.count, 1))

        def multiply(block: Any, turn: int) -> None:
            """Begin with a block, or the half `turn` of it, and store the sums of what was begun before."""
            block = builder.select(builder.icmp_signed("<", block, blocks), block, last)  # behind the end: any
            group = builder.add(first, builder.mul(block, rows))
            inputs = builder.gep(words, [emit.times(group, ACTIVATION_WORDS)])
            begin, half = emit.times(block, ROOM), turn if halved else 0
            weights = builder.gep(tiles, [emit.plus(begin, half * VECTORS // 2 * _VECTOR)])
            _multiply(emit, inputs, weights, found, half, turn)

        def add(block: Any, turn: int) -> None:
            """Add the stored sums of a block to the totals."""
            group, begin = builder.add(first, builder.mul(block, rows)), emit.times(block, ROOM)
            factors = [emit.vector(tiles, emit.plus(begin, (VECTORS + k) * _VECTOR), FLOATS) for k in (0, 1)]
            half, step, base = parts_of_block(format_, *factors)[turn if halved else 0]
            for row in range(many):
                place = emit.times(emit.plus(group, row), ACTIVATION_SCALES)
                at = 2 * turn * ROWS + row
                high, low = (emit.vector(found, ir.Constant(emit.count, k), WORDS) for k in (at, at + ROWS))
                whole = builder.add(builder.shl(high, same(WORDS, 8)), low)
                add_block(emit, totals[row], whole, scales, place, half, step, base)

        # a turn begins with one part, stores the one before and adds the one before that: three steps at once
        parts = 1 if halved else 2
        pairs = builder.udiv(emit.plus(blocks, 2 * parts - 1), ir.Constant(emit.count, parts))
        with cgutils.for_range(builder, pairs) as loop:
            for turn in (0, 1):
                block = emit.plus(emit.times(loop.index, parts), 0 if halved else turn)
                multiply(block, turn)
                earlier = builder.sub(block, ir.Constant(emit.count, parts))
                with builder.if_then(builder.icmp_unsigned("<", earlier, blocks), likely=True):
                    add(earlier, turn)
        builder.asm(ir.FunctionType(ir.VoidType(), []), "tilerelease", "", [], True)
        for row in range(many):
            place = element_pointer(builder, y, ir.Constant(emit.count, row * LANES), FLOATS)
            builder.store(builder.load(totals[row]), place).align = 4
        return context.get_dummy_value()

    return types.void(most, halves, *numbers), generate


_SUMS, _ACTIVATIONS, _WEIGHTS = ((0, 1), (2, 3)), (4, 5), 6
"""Tile registers: of two, the first is of the activations' high bytes; there are two pairs of sums, used in turns."""


def _configure(builder: Any, rows: Any, vectors: int) -> None:
    """Code that says how many rows the tile registers have, and how many bytes a row.

    `vectors`: of the weights that are multiplied at once.
    """
    config = cgutils.alloca_once(builder, _BYTE, size=64)
    config.align = 64
    count = builder.trunc(rows, _BYTE)

    def put(at: int, value: Any) -> None:
        builder.store(value, builder.gep(config, [ir.Constant(ir.IntType(64), at)]))

    for at in range(64):
        put(at, ir.Constant(_BYTE, 0))
    put(0, ir.Constant(_BYTE, 1))  # the palette
    for tiles, size, lines in (
        (_SUMS[0] + _SUMS[1], _VECTOR, count),
        (_ACTIVATIONS, 4 * vectors, count),
        ((_WEIGHTS,), _VECTOR, ir.Constant(_BYTE, vectors)),
    ):
        for tile in tiles:
            put(16 + 2 * tile, ir.Constant(_BYTE, size))
            put(48 + tile, lines)
    kind = ir.FunctionType(ir.VoidType(), [config.type])
    builder.asm(kind, "ldtilecfg ($0)", "r,~{memory}", [config], True)


def _multiply(emit: Emitter, inputs: Any, weights: Any, found: Any, half: int, turn: int) -> None:
    """Code for the products of a part of a tile, and for storing those of the part before.

    `found` holds, of each of the two turns, the sums of the high bytes and those of the low.
    """
    now, before, offset = _SUMS[turn], _SUMS[1 - turn], 2 * VECTORS * half
    size, high, low = ROWS * _VECTOR, *_ACTIVATIONS
    lines = [
        *(f"tilezero %tmm{sums}" for sums in now),
        f"tileloadd ($1,$3), %tmm{_WEIGHTS}",
        f"tileloadd {offset}($0,$3), %tmm{high}",
        f"tileloadd {offset + _LOW}($0,$3), %tmm{low}",
        f"tdpbsud %tmm{_WEIGHTS}, %tmm{high}, %tmm{now[0]}",
        f"tilestored %tmm{before[0]}, {2 * (1 - turn) * size}($2,$3)",
        f"tdpbsud %tmm{_WEIGHTS}, %tmm{low}, %tmm{now[1]}",
        f"tilestored %tmm{before[1]}, {(2 * (1 - turn) + 1) * size}($2,$3)",
    ]
    given = [inputs, weights, found, ir.Constant(emit.count, _MEMBER)]
    kind = ir.FunctionType(ir.VoidType(), [one.type for one in given])
    emit.builder.asm(kind, "\n".join(lines), "r,r,r,r,~{memory}", given, True)
