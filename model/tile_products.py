"""A tile of a packed matrix times a few rows, in whole numbers: the innermost loop of every product of the body.

Weights are whole numbers of 4 or 8 bits, activations of 16; two neighbouring inputs of an output are multiplied and
added in one instruction (AVX-512 VNNI's `vpdpwssd`, else `pmaddwd` and an addition, which LLVM finds). The sums of a
block are exact; each block's step and base and the activations' scale are float32. The order of all sums is the same
for any number of rows, so a row's result does not depend on the company it is in.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from model.vectors import (
    FLOATS,
    HALVES,
    LANES,
    WORDS,
    element_pointer,
    fused,
    host_features,
    in_every_lane,
    load_vector,
    prefetch_place,
    same,
)

AHEAD = 4096
"""Words ahead of those being multiplied that are brought near: with arithmetic in between, the processor does not see
them come."""
VNNI = bool(host_features().get("avx512vnni"))
_PAIRS = 16
"""Of a block's 32 inputs."""
_SHORTS = ir.VectorType(ir.IntType(16), 2 * LANES)

# LLVM takes `vpdpwssd` apart where it believes that to be quicker; it is not, so the instruction is spelled out
if VNNI:
    binding.initialize_native_asmparser()


def _add_pairs(builder: Any, weights: Any, inputs: Any, total: Any) -> Any:
    """In each of sixteen lanes: two products of 16-bit numbers, added to a total of 32 bits."""
    if VNNI:
        kind = ir.FunctionType(WORDS, [WORDS] * 3)
        return builder.asm(kind, "vpdpwssd $3, $2, $0", "=v,0,v,v", [total, weights, inputs], False)
    wide = ir.VectorType(ir.IntType(32), 2 * LANES)
    a, b = (builder.sext(builder.bitcast(part, _SHORTS), wide) for part in (weights, inputs))
    products = builder.mul(a, b)
    even, odd = (
        builder.shuffle_vector(products, products, ir.Constant(WORDS, list(range(first, 2 * LANES, 2))))
        for first in (0, 1)
    )
    return builder.add(total, builder.add(even, odd))


def _pair(builder: Any, words: Any, bits: int, place: int) -> Any:
    """Two of the inputs that each word holds, as 16-bit numbers: `place` and the one half a word above it."""
    if (place + 1) * bits == 16:
        shorts = builder.lshr(builder.bitcast(words, _SHORTS), same(_SHORTS, 16 - bits))
        return builder.bitcast(shorts, WORDS)
    moved = builder.lshr(words, same(WORDS, place * bits)) if place else words
    return builder.and_(moved, same(WORDS, 0x10001 * ((1 << bits) - 1)))


@intrinsic(prefer_literal=True)
def tile_products(  # type: ignore[no-untyped-def]
    _typing, rows, bits, words, steps, bases, first, blocks, pairs, scales, sums, row, y, at, width
):
    """`rows` rows of activations, from `row` on, times a tile whose `blocks` blocks begin at the matrix's `first`.

    `rows` and `bits` are literals. Activations lie as `to_16_bits` lays them out; row r of the result goes to sixteen
    places of `y` from at + r · width on.
    """
    many, held = rows.literal_value, bits.literal_value
    places = 16 // held
    numbers = (words, steps, bases, types.intp, types.intp, pairs, scales, sums, types.intp, y, types.intp, types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def data(index: int) -> Any:
            return context.make_array(signature.args[index])(context, builder, arguments[index]).data

        words, steps, bases, pairs, scales, sums, y = (data(index) for index in (2, 3, 4, 7, 8, 9, 11))
        first, blocks, row, at, width = (arguments[index] for index in (5, 6, 10, 12, 13))
        count = first.type

        def plus(index: Any, constant: int) -> Any:
            return builder.add(index, ir.Constant(count, constant))

        def times(index: Any, constant: int) -> Any:
            return builder.mul(index, ir.Constant(count, constant))

        def spread(array: Any, index: Any, kind: ir.VectorType) -> Any:
            return in_every_lane(builder, builder.load(builder.gep(array, [index])), kind)

        totals = [cgutils.alloca_once_value(builder, same(FLOATS, 0.0)) for _ in range(many)]  # registers, after LLVM
        before = builder.mul(row, blocks)
        with cgutils.for_range(builder, blocks) as loop:
            here = times(builder.add(first, loop.index), LANES)
            group = builder.add(before, times(loop.index, many))
            # two sums a row, so that one need not wait for the last
            found = [[same(WORDS, 0), same(WORDS, 0)] for _ in range(many)]
            for part in range(held):
                word = plus(times(here, held), part * LANES)
                packed = load_vector(builder, words, word, WORDS)
                prefetch_place(builder, words, plus(word, AHEAD))
                for place in range(places):
                    weights = _pair(builder, packed, held, place)
                    for r in range(many):
                        inputs = spread(pairs, plus(times(group, _PAIRS), (part * places + place) * many + r), WORDS)
                        found[r][place % 2] = _add_pairs(builder, weights, inputs, found[r][place % 2])
            prefetch_place(builder, steps, plus(here, AHEAD // held))
            prefetch_place(builder, bases, plus(here, AHEAD // held))
            step, base = (builder.fpext(load_vector(builder, part, here, HALVES), FLOATS) for part in (steps, bases))
            for r in range(many):
                of_steps = builder.sitofp(builder.add(*found[r]), FLOATS)
                of_bases = builder.fmul(base, spread(sums, plus(group, r), FLOATS))
                block = fused(builder, step, of_steps, of_bases)
                scale = spread(scales, plus(group, r), FLOATS)
                builder.store(fused(builder, block, scale, builder.load(totals[r])), totals[r])
        for r in range(many):
            place = builder.add(at, times(width, r))
            builder.store(builder.load(totals[r]), element_pointer(builder, y, place, FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(rows, bits, *numbers), generate


@intrinsic
def block_to_16_bits(_typing, x, at, pairs, group, scales, sums, to, member):  # type: ignore[no-untyped-def]
    """The 32 float32 of `x` from `at` on as whole numbers of ±32767 with a scale, and their sum, for `tile_products`:
    member `member` of a group whose scales and sums begin at `to`."""
    numbers = (x, types.intp, pairs, types.intp, scales, sums, types.intp, types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def data(index: int) -> Any:
            return context.make_array(signature.args[index])(context, builder, arguments[index]).data

        def call(name: str, kind: ir.Type, *given: Any) -> Any:
            function = ir.FunctionType(kind, [part.type for part in given])
            return builder.call(cgutils.get_or_insert_function(builder.module, function, name), given)

        at, group, to, member = (arguments[index] for index in (1, 3, 6, 7))
        count, word, zero = at.type, ir.IntType(32), ir.Constant(ir.FloatType(), 0.0)
        halves = []
        for part in (0, LANES):
            halves.append(load_vector(builder, data(0), builder.add(at, ir.Constant(count, part))))
        # without their signs floats rise as whole numbers do, and what is not finite is the largest of all
        sizes = [builder.and_(builder.bitcast(half, WORDS), same(WORDS, 0x7FFFFFFF)) for half in halves]
        largest = call(f"llvm.vector.reduce.umax.v{LANES}i32", word, call(f"llvm.umax.v{LANES}i32", WORDS, *sizes))
        most, limit = builder.bitcast(largest, ir.FloatType()), ir.Constant(ir.FloatType(), 32767.0)
        factor = builder.select(builder.fcmp_ordered("==", most, zero), zero, builder.fdiv(limit, most))
        # far from zero, a float's last bits are whole numbers
        far = same(FLOATS, float(3 << 22))
        spread = in_every_lane(builder, factor)
        kept = [builder.bitcast(builder.fadd(builder.fmul(half, spread), far), WORDS) for half in halves]
        whole = [builder.sub(part, builder.bitcast(far, WORDS)) for part in kept]
        total = call(f"llvm.vector.reduce.add.v{LANES}i32", word, builder.add(*whole))
        one = builder.add(to, member)
        builder.store(builder.fdiv(most, limit), builder.gep(data(4), [one]))
        builder.store(builder.sitofp(total, ir.FloatType()), builder.gep(data(5), [one]))
        shorts = [builder.trunc(part, ir.VectorType(ir.IntType(16), LANES)) for part in whole]
        order = ir.Constant(ir.VectorType(word, 2 * LANES), list(range(2 * LANES)))
        joined = builder.bitcast(builder.shuffle_vector(*shorts, order), WORDS)
        place = builder.add(builder.mul(to, ir.Constant(count, _PAIRS)), member)
        for lane in range(_PAIRS):
            pair = builder.extract_element(joined, ir.Constant(word, lane))
            builder.store(
                pair, builder.gep(data(2), [builder.add(place, builder.mul(group, ir.Constant(count, lane)))])
            )
        return context.get_dummy_value()

    return types.void(*numbers), generate
