"""Integer matrix products: one tile of a quantised matrix times a few rows of activations.

A tile holds 16 outputs. Its weights are unsigned integers of 4, 5, 6 or 8 bits; each block of 32 inputs (or 16, in
`K6`) has a scale. Activations are 16-bit integers with one scale per block of 32, cut in a high and a low signed byte,
so that AVX-512 VNNI's `vpdpbusd` multiplies four inputs of sixteen outputs at once: once with the high bytes, once
with the low ones. Without VNNI the same integers are multiplied in pairs of 16 bits. Integer sums are exact, and the
order of the float32 sums is the same for any number of rows: a row's result does not depend on the rows beside it, nor
on the processor.

Layout of a tile: records, each of one block (`B4`, `B5`, `B8`) or of a superblock of eight (`K4`, `K5`, `K6`), one
after another, so that a product reads memory from begin to end. A record is its scales, padded to 64 bytes, and its
weights; all numbers are little-endian.

- scales. `B4`, `B5`, `B8`: 16 float16 steps, 16 float16 bases; a weight is step · q + base.
  `K4`, `K5`: 16 float16 `d`, 16 float16 `dmin`, then for each of the eight blocks 16 uint8 scales and 16 uint8 minima;
  a weight is d · scale · q - dmin · minimum.
  `K6`: 16 float16 `d`, then for each of the 16 half blocks 16 int8 scales; a weight is d · scale · (q - 32).
- weights. The 32 inputs of a block are eight vectors v0 … v7 of 64 bytes: v_i holds inputs 4i … 4i+3 of each of the
  16 outputs. With 8 bits they stand as they are. Otherwise four vectors hold the low four bits, v_j in the low and
  v_{j+4} in the high half of each byte; a fifth vector holds the fifth bit of v_i in its bit i (`5` bits), or a fifth
  and sixth hold the two highest bits of v_{4h+k} in bits 2k and 2k+1 of vector h (`6` bits).

The formats K4, K5 and K6 are those of GGUF's Q4_K, Q5_K and Q6_K, laid out anew
(https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from model.kernels.processor import VNNI
from model.vectors import (
    FLOATS,
    HALVES,
    LANES,
    WORDS,
    compiled,
    element_pointer,
    fused,
    in_every_lane,
    load_vector,
    prefetch_place,
    same,
)

BLOCK = 32
"""Inputs that share the scale of an activation, and of a weight (half as many in `K6`)."""
SUPERBLOCK = 256
"""Inputs that share the float16 scales of a K format."""
VECTORS = BLOCK // 4
"""Vectors of a block's weights: four inputs of sixteen outputs each."""
_HALF = VECTORS // 2
B4, B5, B8, K4, K5, K6 = range(6)
"""The formats."""
BITS = (4, 5, 8, 4, 5, 6)
"""Bits of a weight, by format."""
RECORD_BLOCKS = (1, 1, 1, 8, 8, 8)
"""Blocks of a record, by format."""
SCALE_BYTES = (64, 64, 64, 320, 320, 320)
"""Bytes of a record's scales, with what pads them to 64."""
RECORD_BYTES = tuple(
    scales + blocks * 64 * bits for scales, blocks, bits in zip(SCALE_BYTES, RECORD_BLOCKS, BITS, strict=True)
)
"""Bytes of a record."""
ACTIVATION_LIMIT = 32512
"""The largest activation, as an integer: 127 · 256, so that its high byte is a signed byte."""
ACTIVATION_WORDS = 16
"""uint32 of a row's block of activations."""
ACTIVATION_SCALES = 4
"""float32 beside them: the scale, scale · sum, and -32 times the sums of both halves as int32."""
_AHEAD = 2048
"""Bytes ahead of those being multiplied that are prefetched, with `prefetcht0`: `prefetchnta`, which is no better on
Zen 4, makes a step of one sequence 1.6 times as long on a Sapphire Rapids."""
_BYTES = ir.VectorType(ir.IntType(8), LANES)
_SHORTS = ir.VectorType(ir.IntType(16), 2 * LANES)

# LLVM splits `vpdpbusd` where it believes that to be quicker; it is not, so the instruction is spelled out
if VNNI:
    binding.initialize_native_asmparser()


class Emitter:
    """What the intrinsics need to write LLVM code."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> None:
        self.context, self.builder, self.signature, self.arguments = context, builder, signature, arguments
        self.count = context.get_value_type(types.intp)

    def data(self, index: int) -> Any:
        """The first element of an array argument."""
        kind = self.signature.args[index]
        return self.context.make_array(kind)(self.context, self.builder, self.arguments[index]).data

    def plus(self, index: Any, constant: int) -> Any:
        return self.builder.add(index, ir.Constant(self.count, constant)) if constant else index

    def times(self, index: Any, constant: int) -> Any:
        return self.builder.mul(index, ir.Constant(self.count, constant))

    def vector(self, data: Any, at: Any, kind: ir.VectorType) -> Any:
        loaded = self.builder.load(element_pointer(self.builder, data, at, kind))
        loaded.align = 1
        return loaded

    def halves(self, data: Any, at: Any) -> Any:
        return self.builder.fpext(self.vector(data, at, HALVES), FLOATS)

    def spread(self, data: Any, at: Any, kind: ir.VectorType) -> Any:
        """The float32 or int32 at a place of a float32 array, in every lane."""
        pointer = self.builder.gep(data, [at])
        if kind is WORDS:
            pointer = self.builder.bitcast(pointer, ir.IntType(32).as_pointer())
        return in_every_lane(self.builder, self.builder.load(pointer), kind)

    def call(self, name: str, kind: ir.Type, *given: Any) -> Any:
        function = ir.FunctionType(kind, [part.type for part in given])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, function, name), given)


# -- weights ----------------------------------------------------------------------------------------------------------
def unpack(emit: Emitter, data: Any, at: Any, bits: int) -> list[Any]:
    """The eight vectors of a block's weights, which begin at byte `at`: unsigned bytes, four inputs to a lane."""
    builder = emit.builder
    size = 4 * LANES

    def load(index: int) -> Any:
        place = emit.plus(at, index * size)
        prefetch_place(builder, data, emit.plus(place, _AHEAD))
        return emit.vector(data, place, WORDS)

    def field(word: Any, left: int, mask: int) -> Any:
        """The bits that end up under `mask`, shifted left (or right, where negative)."""
        if left:
            shift = builder.shl if left > 0 else builder.lshr
            word = shift(word, same(WORDS, abs(left)))
        return builder.and_(word, same(WORDS, mask * 0x01010101))

    if bits == 8:
        return [load(index) for index in range(VECTORS)]
    pairs = [load(index) for index in range(VECTORS // 2)]
    low = [field(word, 0, 15) for word in pairs] + [field(word, -4, 15) for word in pairs]
    if bits == 4:
        return low
    if bits == 5:
        plane = load(4)
        return [builder.or_(word, field(plane, 4 - index, 16)) for index, word in enumerate(low)]
    planes = [load(4), load(5)]
    return [builder.or_(word, field(planes[i // 4], 4 - 2 * (i % 4), 48)) for i, word in enumerate(low)]


def walk_tile(
    emit: Emitter, tiles: Any, blocks: Any, format_: int, visit: Callable[[Any, Any, Any, Any], None]
) -> None:
    """Code that visits the blocks of a tile in order: `visit(block, byte where its weights begin, …)`.

    Then come two vectors of float32: the step and the base of its weights, or in `K6` the steps of both halves.
    """
    builder, size, begin = emit.builder, RECORD_BYTES[format_], SCALE_BYTES[format_]

    def small(place: Any, signed: bool) -> Any:
        """Sixteen bytes as float32."""
        loaded = emit.vector(tiles, place, _BYTES)
        return builder.sitofp((builder.sext if signed else builder.zext)(loaded, WORDS), FLOATS)

    def prefetch_scales(here: Any) -> None:
        """What lies as far ahead of a record's scales; its weights do the same where they are loaded."""
        for line in range(0, begin, 4 * LANES):
            prefetch_place(builder, tiles, emit.plus(here, line + _AHEAD))

    if format_ in (B4, B5, B8):
        with cgutils.for_range(builder, blocks) as loop:
            here = emit.times(loop.index, size)
            prefetch_scales(here)
            step, base = (emit.halves(tiles, emit.plus(here, part)) for part in (0, 2 * LANES))
            visit(loop.index, emit.plus(here, begin), step, base)
        return
    inner = SUPERBLOCK // BLOCK
    with cgutils.for_range(builder, builder.udiv(blocks, ir.Constant(emit.count, inner))) as loop:
        here = emit.times(loop.index, size)
        prefetch_scales(here)
        d, of_blocks = emit.halves(tiles, here), emit.plus(here, 2 * LANES)
        factors = [d, d]
        if format_ != K6:
            factors[1], of_blocks = builder.fneg(emit.halves(tiles, of_blocks)), emit.plus(here, 4 * LANES)
        with cgutils.for_range(builder, ir.Constant(emit.count, inner)) as turn:
            block = builder.add(emit.times(loop.index, inner), turn.index)
            of_block = builder.add(of_blocks, emit.times(turn.index, 2 * LANES))
            weights = builder.add(here, emit.times(turn.index, BLOCK // 8 * LANES * BITS[format_]))
            parts = [small(emit.plus(of_block, part * LANES), format_ == K6) for part in (0, 1)]
            visit(block, emit.plus(weights, begin), *(builder.fmul(a, b) for a, b in zip(factors, parts, strict=True)))


# -- sums of a block --------------------------------------------------------------------------------------------------
def _dot_bytes(emit: Emitter, total: Any, weights: Any, inputs: Any, place: int) -> Any:
    """In each lane: four products of an unsigned and a signed byte, added to a total of 32 bits.

    `inputs` is a pointer; the four signed bytes at 4 · `place` from it go to every lane.
    """
    kind = ir.FunctionType(WORDS, [WORDS, WORDS, inputs.type])
    text = f"vpdpbusd {4 * place}($3){{1to16}}, $2, $0"
    return emit.builder.asm(kind, text, "=v,0,v,r,~{memory}", [total, weights, inputs], True)


def _dot_shorts(emit: Emitter, total: Any, weights: Any, inputs: Any) -> Any:
    """In each lane: two products of 16-bit integers, added to a total of 32 bits."""
    builder = emit.builder
    wide = ir.VectorType(ir.IntType(32), 2 * LANES)
    a, b = (builder.sext(builder.bitcast(part, _SHORTS), wide) for part in (weights, inputs))
    products = builder.mul(a, b)
    even, odd = (
        builder.shuffle_vector(products, products, ir.Constant(WORDS, list(range(first, 2 * LANES, 2))))
        for first in (0, 1)
    )
    return builder.add(total, builder.add(even, odd))


def _sums_vnni(emit: Emitter, weights: list[Any], inputs: list[Any], chains: int) -> list[Any]:
    """Of each row, the sum of products over these vectors. `inputs`: per row, pointers to high and low bytes.

    `chains`: independent sums of a row, so that one instruction need not wait for the one before it.
    """
    builder, zero = emit.builder, same(WORDS, 0)
    high = [[zero] * chains for _ in inputs]
    for index, vector in enumerate(weights):
        for row, pointers in enumerate(inputs):
            at = index % chains
            high[row][at] = _dot_bytes(emit, high[row][at], vector, pointers[0], index)
    shifted = [[builder.shl(part, same(WORDS, 8)) for part in row] for row in high]
    low = [[row[0], *[zero] * (chains - 1)] for row in shifted] if chains == 1 else [[zero] * chains for _ in inputs]
    for index, vector in enumerate(weights):
        for row, pointers in enumerate(inputs):
            at = index % chains
            low[row][at] = _dot_bytes(emit, low[row][at], vector, pointers[1], index)
    totals = []
    for row, parts in enumerate(low):
        left = parts if chains == 1 else [*parts, *shifted[row]]
        while len(left) > 1:
            left = [builder.add(left[k], left[k + 1]) for k in range(0, len(left) - 1, 2)] + left[len(left) & ~1 :]
        totals.append(left[0])
    return totals


def _sums_pairs(emit: Emitter, weights: list[Any], inputs: list[Any]) -> list[Any]:
    """The same without VNNI. `inputs`: per row, pointers to its even and its odd inputs in pairs of 16 bits."""
    builder = emit.builder
    totals = [same(WORDS, 0)] * len(inputs)
    for index, vector in enumerate(weights):
        shifted = builder.lshr(vector, same(WORDS, 8))
        parts = [builder.and_(word, same(WORDS, 0x00FF00FF)) for word in (vector, shifted)]
        for row, pointers in enumerate(inputs):
            for pointer, part in zip(pointers, parts, strict=True):
                word = builder.load(builder.gep(pointer, [ir.Constant(emit.count, index)]))
                totals[row] = _dot_shorts(emit, totals[row], part, in_every_lane(builder, word, WORDS))
    return totals


def _sums(emit: Emitter, weights: list[Any], words: Any, at: list[Any], first: int) -> list[Any]:
    """Of each row, the sum over the weights' inputs, of which the first is the block's vector `first`.

    A row's activations of the block begin at `at`[row] of `words`.
    """
    builder = emit.builder
    inputs = []
    for row in at:
        block = builder.gep(words, [row])
        inputs.append([builder.gep(block, [ir.Constant(emit.count, first + half)]) for half in (0, VECTORS)])
    if not VNNI:
        return _sums_pairs(emit, weights, inputs)
    return _sums_vnni(emit, weights, inputs, 2 if len(inputs) <= 2 else 1)


# -- a tile -----------------------------------------------------------------------------------------------------------
def parts_of_block(format_: int, first: Any, second: Any) -> list[tuple[int | None, Any, Any]]:
    """(half, step, base) of the parts of a block that have a step each: the whole block, None, or its halves 0 and 1.

    `first` and `second` are what `walk_tile` gives. Halves have no base: their weights count from -32.
    """
    return [(0, first, None), (1, second, None)] if format_ == K6 else [(None, first, second)]


def add_block(emit: Emitter, total: Any, found: Any, scales: Any, place: Any, half: int | None, step: Any, base: Any):  # type: ignore[no-untyped-def]
    """Code that adds a row's integer sum over a block, or a half of it, to the row's float32 total (a pointer).

    `place` is where the activations' scales of the row and block begin. This is the one order of float32 operations.
    """
    builder = emit.builder
    if half is not None:
        found = builder.add(found, emit.spread(scales, emit.plus(place, 2 + half), WORDS))
    scaled = builder.fmul(step, emit.spread(scales, place, FLOATS))
    now = fused(builder, builder.sitofp(found, FLOATS), scaled, builder.load(total))
    if base is not None:
        now = fused(builder, base, emit.spread(scales, emit.plus(place, 1), FLOATS), now)
    builder.store(now, total)


@intrinsic(prefer_literal=True)
def tile_products(  # type: ignore[no-untyped-def]
    _typing, rows, form, address, blocks, words, scales, first, y
):
    """`rows` rows of activations times a tile; the sums go to the first 16 · `rows` places of `y`.

    `rows` and `form` (a format) are literals. The tile lies at an address in memory, so that matrices may lie anywhere;
    the caller keeps them alive. Activations lie as `quantize_block` lays them out: those of the rows' first block begin
    with block number `first`, and the rows lie side by side.
    """
    many, format_ = rows.literal_value, form.literal_value
    bits = BITS[format_]
    numbers = (types.intp, types.intp, words, scales, types.intp, y)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        words, scales, y = (emit.data(index) for index in (4, 5, 7))
        address, blocks, first = (arguments[index] for index in (2, 3, 6))
        tiles = builder.inttoptr(address, ir.IntType(8).as_pointer())
        totals = [cgutils.alloca_once_value(builder, same(FLOATS, 0.0)) for _ in range(many)]  # registers, after LLVM

        def members(block: Any, size: int) -> list[Any]:
            """Where each row's part of a block begins."""
            group = builder.add(first, emit.times(block, many))
            return [emit.times(emit.plus(group, row), size) for row in range(many)]

        def add(block: Any, here: Any, first: Any, second: Any) -> None:
            vectors, places = unpack(emit, tiles, here, bits), members(block, ACTIVATION_SCALES)
            inputs = members(block, ACTIVATION_WORDS)
            for half, step, base in parts_of_block(format_, first, second):
                chosen = vectors if half is None else vectors[half * _HALF : (half + 1) * _HALF]
                found = _sums(emit, chosen, words, inputs, (half or 0) * _HALF)
                for row, place in enumerate(places):
                    add_block(emit, totals[row], found[row], scales, place, half, step, base)

        walk_tile(emit, tiles, blocks, format_, add)
        for row in range(many):
            place = ir.Constant(emit.count, row * LANES)
            builder.store(builder.load(totals[row]), element_pointer(builder, y, place, FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(rows, form, *numbers), generate


@compiled(inline="always")
def tile_bytes(form, blocks):  # type: ignore[no-untyped-def]
    """Bytes of a tile."""
    return blocks // RECORD_BLOCKS[form] * RECORD_BYTES[form]


# -- activations ------------------------------------------------------------------------------------------------------
@intrinsic
def quantize_block(_typing, x, at, words, scales, to):  # type: ignore[no-untyped-def]
    """The 32 float32 of `x` from `at` on as 16-bit integers, with their scale and sums, for `tile_products`.

    They become block number `to` of `words` and `scales`. What is not finite makes a scale that is not finite.
    """
    numbers = (x, types.intp, words, scales, types.intp)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        emit = Emitter(context, builder, signature, arguments)
        at, to = arguments[1], arguments[4]
        word, zero = ir.IntType(32), ir.Constant(ir.FloatType(), 0.0)
        halves = [load_vector(builder, emit.data(0), emit.plus(at, part)) for part in (0, LANES)]
        # without their signs floats rise as integers do, and what is not finite is the largest of all
        sizes = [builder.and_(builder.bitcast(half, WORDS), same(WORDS, 0x7FFFFFFF)) for half in halves]
        largest = emit.call(f"llvm.umax.v{LANES}i32", WORDS, *sizes)
        most = builder.bitcast(emit.call(f"llvm.vector.reduce.umax.v{LANES}i32", word, largest), ir.FloatType())
        limit = ir.Constant(ir.FloatType(), float(ACTIVATION_LIMIT))
        factor = builder.select(builder.fcmp_ordered("==", most, zero), zero, builder.fdiv(limit, most))
        far = same(FLOATS, float(3 << 22))  # so far from zero a float's last bits are integers
        spread = in_every_lane(builder, factor)
        kept = [builder.bitcast(builder.fadd(builder.fmul(half, spread), far), WORDS) for half in halves]
        whole = [builder.sub(part, builder.bitcast(far, WORDS)) for part in kept]
        sums = [emit.call(f"llvm.vector.reduce.add.v{LANES}i32", word, part) for part in whole]
        scale = builder.fdiv(most, limit)
        places = [builder.gep(emit.data(3), [emit.plus(emit.times(to, ACTIVATION_SCALES), k)]) for k in range(4)]
        builder.store(scale, places[0])
        builder.store(builder.fmul(scale, builder.sitofp(builder.add(*sums), ir.FloatType())), places[1])
        for place, total in zip(places[2:], sums, strict=True):
            offset = builder.mul(total, ir.Constant(word, -32))
            builder.store(builder.bitcast(offset, ir.FloatType()), place)
        order = ir.Constant(ir.VectorType(word, 2 * LANES), list(range(2 * LANES)))
        shorts = [builder.trunc(part, ir.VectorType(ir.IntType(16), LANES)) for part in whole]
        joined = builder.shuffle_vector(*shorts, order)
        eight = ir.VectorType(word, VECTORS)
        if VNNI:
            signed = ir.VectorType(ir.IntType(8), 2 * LANES)
            low = builder.trunc(joined, signed)
            rest = builder.ashr(builder.sub(joined, builder.sext(low, _SHORTS)), same(_SHORTS, 8))
            parts = [builder.bitcast(half, eight) for half in (builder.trunc(rest, signed), low)]
        else:
            undefined = ir.Constant(_SHORTS, ir.Undefined)
            chosen = (ir.Constant(WORDS, list(range(odd, 2 * LANES, 2))) for odd in (0, 1))
            parts = [builder.bitcast(builder.shuffle_vector(joined, undefined, one), eight) for one in chosen]
        for half, part in enumerate(parts):
            place = emit.plus(emit.times(to, ACTIVATION_WORDS), half * VECTORS)
            builder.store(part, element_pointer(builder, emit.data(2), place, eight)).align = 4
        return context.get_dummy_value()

    return types.void(*numbers), generate
