"""Matrices of 4, 5, 6 or 8 bits in the block formats of GGUF files, multiplied with activations of 16 bits.

What comes in one of those formats is kept exactly: no weight is rounded again. Other matrices are rounded to 8 bits,
32 weights to a block with a float16 step and base (but one that fits 4 bits or 8 bits without loss is found to fit).
Activations are 16-bit integers with a scale for each 32, which costs float32's answers next to nothing
(`python -m benchmarks agreement`); 8 bits change answers. See `model.kernels.int_gemm` for the layout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.kernels.amx import ROOM, ROWS, unpack_tile, unpacked_products
from model.kernels.int_gemm import (
    ACTIVATION_SCALES,
    ACTIVATION_WORDS,
    B4,
    B5,
    B8,
    BITS,
    BLOCK,
    K4,
    K5,
    K6,
    RECORD_BYTES,
    SCALE_BYTES,
    SUPERBLOCK,
    VECTORS,
    quantize_block,
    tile_bytes,
    tile_products,
)
from model.kernels.processor import AMX, MANY_REGISTERS
from model.kernels.threads import claim, finish, new_counters, on_threads, threads_for
from model.vectors import LANES, add, compiled, load, store

FORMATS = {"Q4_0": B4, "Q4_1": B4, "Q5_0": B5, "Q5_1": B5, "Q8_0": B8, "Q4_K": K4, "Q5_K": K5, "Q6_K": K6}
"""GGUF's kinds that are kept as they are → our formats."""
THREADED_BYTES = 1 << 20
"""A product that reads this much, counted once for every eight rows, is shared among threads."""
_PACKED_AT_ONCE = 1 << 25
"""Weights that are laid out at once when packing: what bounds the memory it takes."""


class BlockMatrix:
    """A linear layer's weight: tiles of 16 outputs, each its scales and its integers (`model.kernels.int_gemm`)."""

    def __init__(self, weight: Tensor) -> None:
        """`weight` (outputs, inputs), any float dtype."""
        exact = weight.detach().cpu().float().numpy()
        outputs, inputs = exact.shape
        padded = np.zeros((_padded(outputs, LANES), _padded(inputs, BLOCK)), np.float32)
        padded[:outputs, :inputs] = exact
        bits, q, steps, bases = _round(padded.reshape(len(padded), -1, BLOCK))
        self._hold(outputs, inputs, B4 if bits == 4 else B8)
        scales = np.stack([steps, bases], -1).view(np.uint8).reshape(*steps.shape, 2, 2)
        self._fill(0, _block_scales(scales), q)

    @classmethod
    def from_gguf(cls, kind: str, rows: np.ndarray) -> BlockMatrix:
        """A matrix as it stands in a GGUF file, (outputs, bytes) uint8, of a kind in `FORMATS`: nothing is rounded.

        Raises `ValueError` for other kinds.
        """
        if kind not in FORMATS:
            raise ValueError(f"{kind} matrices are not kept as they are, only {', '.join(FORMATS)}: give the numbers")
        size, bytes_ = (SUPERBLOCK, _K_BYTES[kind]) if kind in _K_BYTES else (BLOCK, _BLOCK_BYTES[kind])
        inputs = rows.shape[1] // bytes_ * size
        matrix = cls.__new__(cls)
        matrix._hold(len(rows), inputs, FORMATS[kind])
        step = max(1, _PACKED_AT_ONCE // (inputs * LANES)) * LANES
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            if len(part) % LANES:
                part = np.concatenate([part, np.zeros((-len(part) % LANES, rows.shape[1]), np.uint8)])
            matrix._fill(first // LANES, *_taken(kind, part.reshape(len(part), -1, bytes_)))
        return matrix

    @classmethod
    def over(cls, data: np.ndarray, form: int, outputs: int, inputs: int) -> BlockMatrix:
        """A matrix that was packed before: `data` is its bytes, which are not copied."""
        matrix = cls.__new__(cls)
        matrix._hold(outputs, inputs, form, data)
        return matrix

    def _hold(self, outputs: int, inputs: int, form: int, data: np.ndarray | None = None) -> None:
        self.outputs, self.inputs, self.form = outputs, inputs, form
        self.tiles, self.blocks = -(-outputs // LANES), -(-inputs // BLOCK)
        size = self.tiles * int(tile_bytes(form, self.blocks))
        if data is None:
            room = np.zeros(size + 63, np.uint8)
            begin = -room.ctypes.data % 64
            data = room[begin : begin + size]
        if len(data) != size:
            raise ValueError(f"a packed matrix of {outputs} × {inputs} takes {size} bytes, not {len(data)}")
        self.data = data
        self.address = data.ctypes.data

    @property
    def bits(self) -> int:
        """Of a weight."""
        return BITS[self.form]

    @property
    def shape(self) -> np.ndarray:
        """What `over` takes beside the bytes: format, outputs, inputs."""
        return np.array([self.form, self.outputs, self.inputs])

    @property
    def nbytes(self) -> int:
        """Bytes that one product reads."""
        return int(self.data.nbytes)

    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each tile's records the scales and the integers, as views (tiles, records, bytes)."""
        records = self.data.reshape(self.tiles, -1, RECORD_BYTES[self.form])
        return records[..., : SCALE_BYTES[self.form]], records[..., SCALE_BYTES[self.form] :]

    def _fill(self, first: int, scales: np.ndarray, q: np.ndarray) -> None:
        """Lay out tiles from `first` on. `scales` (tiles, records, bytes), `q` (outputs, blocks, 32) uint8."""
        of_scales, of_weights = self._split()
        end = first + len(q) // LANES
        of_scales[first:end, :, : scales.shape[2]] = scales
        of_weights[first:end] = _lay_out(q, self.bits).reshape(end - first, scales.shape[1], -1)

    def __call__(self, x: Tensor) -> Tensor:
        """(…, inputs) float32 → (…, outputs) float32."""
        rows = x.reshape(-1, self.inputs).contiguous().numpy()
        if self.blocks * BLOCK != self.inputs:
            rows = np.pad(rows, ((0, 0), (0, self.blocks * BLOCK - self.inputs)))
        y = np.empty((len(rows), self.tiles * LANES), np.float32)
        words, scales = new_activations(len(rows) * self.blocks)
        _quantize_rows(rows, words, scales)
        counters, chunk = new_counters(1), max(1, self.tiles // 32)
        work = self.nbytes * -(-len(rows) // 8)
        threads = threads_for(self.tiles // chunk) if work >= THREADED_BYTES else 1

        def multiply() -> None:
            _multiply(counters, self.form, self.address, self.tiles, self.blocks, chunk, words, scales, y)

        on_threads(multiply, threads)
        return torch.from_numpy(y)[:, : self.outputs].reshape(*x.shape[:-1], self.outputs)

    def rows(self, outputs: Tensor) -> Tensor:
        """The weights of some outputs (…,) → (…, inputs) float32."""
        index = outputs.reshape(-1).numpy()
        tile, lane = index // LANES, index % LANES
        scales, weights = self._split()
        q = _restored(weights[tile].reshape(len(index), self.blocks, self.bits, LANES, 4), lane, self.bits)
        steps, bases = _scales_of(self.form, scales[tile], lane)
        exact = q.reshape(*steps.shape, -1) * steps[..., None] + bases[..., None]
        kept = exact.reshape(len(index), -1)[:, : self.inputs].astype(np.float32)
        return torch.from_numpy(kept).reshape(*outputs.shape, self.inputs)


def _padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


# -- from GGUF's formats ----------------------------------------------------------------------------------------------
_BLOCK_BYTES = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34}
_K_BYTES = {"Q4_K": 144, "Q5_K": 176, "Q6_K": 210}
_COUNTED_FROM = {"Q4_0": -8, "Q5_0": -16, "Q8_0": -128}
"""Kinds without a base count from here: the base is so many steps, exactly."""


def _taken(kind: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, blocks or superblocks, bytes) of a GGUF kind → scales (tiles, records, bytes) and q (outputs, blocks,
    32)."""
    if kind in _K_BYTES:
        return _taken_k(kind, raw)
    step = raw[..., :2].copy().view(np.float16)[..., 0]
    if kind in _COUNTED_FROM:
        base, rest = step * np.float16(_COUNTED_FROM[kind]), raw[..., 2:]
    else:
        base, rest = raw[..., 2:4].copy().view(np.float16)[..., 0], raw[..., 4:]
    if kind == "Q8_0":
        q = rest ^ 128  # signed → counted from -128
    elif kind in ("Q5_0", "Q5_1"):
        high = np.unpackbits(rest[..., :4], axis=-1, bitorder="little")
        q = _nibbles(rest[..., 4:]) | high << 4
    else:
        q = _nibbles(rest)
    return _block_scales(np.stack([step, base], -1).view(np.uint8).reshape(*step.shape, 2, 2)), q


def _nibbles(raw: np.ndarray) -> np.ndarray:
    """The low halves of some bytes, then the high ones."""
    return np.concatenate([raw & 15, raw >> 4], -1)


def _block_scales(scales: np.ndarray) -> np.ndarray:
    """(outputs, blocks, 2, 2) bytes of step and base → (tiles, blocks, bytes), sixteen outputs side by side."""
    outputs, blocks, _, _ = scales.shape
    of_tiles = scales.reshape(outputs // LANES, LANES, blocks, 2, 2).transpose(0, 2, 3, 1, 4)
    return of_tiles.reshape(outputs // LANES, blocks, -1)


def _taken_k(kind: str, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    outputs, supers, _ = raw.shape
    if kind == "Q6_K":
        low, high = raw[..., :128].reshape(outputs, supers, 2, 64), raw[..., 128:192].reshape(outputs, supers, 2, 32)
        nibbles = np.concatenate([low & 15, low >> 4], -1).reshape(outputs, supers, 2, 4, 32)
        above = np.stack([high >> shift & 3 for shift in (0, 2, 4, 6)], 3)
        q = (nibbles | above << 4).reshape(outputs, -1, BLOCK)
        return _super_scales([raw[..., 208:210]], raw[..., 192:208]), q
    scales, minima = _six_bits(raw[..., 4:16])
    if kind == "Q4_K":
        q = _nibbles(raw[..., 16:].reshape(outputs, supers, 4, 32)).reshape(outputs, -1, BLOCK)
    else:
        high = np.stack([raw[..., 16:48] >> bit & 1 for bit in range(8)], 2)
        nibbles = _nibbles(raw[..., 48:].reshape(outputs, supers, 4, 32)).reshape(outputs, supers, 8, 32)
        q = (nibbles | high << 4).reshape(outputs, -1, BLOCK)
    pairs = np.stack([scales, minima], -1).reshape(outputs, supers, -1)
    return _super_scales([raw[..., :2], raw[..., 2:4]], pairs), q


def _six_bits(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 12 bytes that hold eight scales and eight minima of 6 bits each."""
    a, b, c = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scales = np.concatenate([a & 63, c & 15 | (a >> 6) << 4], -1)
    minima = np.concatenate([b & 63, c >> 4 | (b >> 6) << 4], -1)
    return scales, minima


def _super_scales(halves: list[np.ndarray], small: np.ndarray) -> np.ndarray:
    """float16 bytes (outputs, supers, 2) and small scales (outputs, supers, n) → (tiles, supers, bytes)."""
    outputs, supers, _ = small.shape

    def split(part: np.ndarray, *sizes: int) -> np.ndarray:
        """→ (tiles, supers, bytes), sixteen outputs side by side within each of the parts."""
        of_tiles = part.reshape(outputs // LANES, LANES, supers, *sizes)
        return np.moveaxis(of_tiles, 1, 3 if len(sizes) > 1 else 2).reshape(outputs // LANES, supers, -1)

    parts = [split(half, 2) for half in halves] + [split(small, small.shape[-1], 1)]
    return np.concatenate(parts, -1)


def _scales_of(form: int, scales: np.ndarray, lane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales (n, records, bytes) of some outputs' tiles → steps and bases (n, blocks or half blocks), float64."""
    index, (count, records, _) = np.arange(len(lane)), scales.shape
    parts = 1 if form == K6 else 2
    halves = scales[..., : parts * 2 * LANES].copy().view(np.float16).reshape(count, records, parts, LANES)
    d = halves[index, :, :, lane].astype(np.float64)  # (n, records, parts)
    if form in (B4, B5, B8):
        return d[..., 0], d[..., 1]
    begin = parts * 2 * LANES
    small = scales[..., begin : begin + 16 * LANES].reshape(count, records, 16, LANES)[index, :, :, lane]
    if form == K6:
        steps = (d * small.view(np.int8)).reshape(count, -1)
        return steps, -32 * steps
    pairs = small.reshape(count, records, 8, 2)
    return (d[..., :1] * pairs[..., 0]).reshape(count, -1), -(d[..., 1:] * pairs[..., 1]).reshape(count, -1)


# -- integers, laid out -----------------------------------------------------------------------------------------------
def _lay_out(q: np.ndarray, bits: int) -> np.ndarray:
    """(outputs, blocks, 32) → bytes (tiles, blocks, vectors, 16, 4), as `int_gemm` describes them."""
    tiles, blocks = len(q) // LANES, q.shape[1]
    vectors = np.ascontiguousarray(q.reshape(tiles, LANES, blocks, VECTORS, 4).transpose(0, 2, 3, 1, 4))
    if bits == 8:
        return vectors
    laid = np.empty((tiles, blocks, bits, LANES, 4), np.uint8)
    half = VECTORS // 2
    laid[:, :, :half] = (vectors[:, :, :half] & 15) | vectors[:, :, half:] << 4
    above = vectors >> 4
    if bits == 5:
        laid[:, :, half] = _or([above[:, :, i] << i for i in range(VECTORS)])
    elif bits == 6:
        for part in (0, 1):
            laid[:, :, half + part] = _or([above[:, :, half * part + k] << 2 * k for k in range(half)])
    return laid


def _or(parts: list[np.ndarray]) -> np.ndarray:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole | part
    return whole


def _restored(laid: np.ndarray, lane: np.ndarray, bits: int) -> np.ndarray:
    """Blocks of some tiles (n, blocks, vectors, 16, 4) → q of one output of each (n, blocks, 32)."""
    vectors = laid[np.arange(len(lane)), :, :, lane]  # (n, blocks, vectors, 4)
    if bits < 8:
        low, high = vectors[:, :, : VECTORS // 2], vectors[:, :, VECTORS // 2 :]
        vectors = np.concatenate([low & 15, low >> 4], 2)
        if bits == 5:
            vectors = vectors | np.stack([high[:, :, 0] >> i & 1 for i in range(VECTORS)], 2) << 4
        elif bits == 6:
            vectors = vectors | np.stack([high[:, :, i // 4] >> 2 * (i % 4) & 3 for i in range(VECTORS)], 2) << 4
    return vectors.reshape(len(lane), -1, BLOCK)


# -- rounding ---------------------------------------------------------------------------------------------------------
def _round(values: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
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


# -- products, compiled -----------------------------------------------------------------------------------------------
TILED_ROWS = 24
"""From so many rows on, products are computed with AMX where there is AMX: fewer do not pay for the unpacking."""
_ROOM_BYTES = 768 << 10
"""Of unpacked tiles: with a group's activations they fit the second cache of the processors that have AMX (2 MB)."""
GROUP = ROWS if AMX else 8
"""Rows of a group at most."""


def new_activations(blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """Room for so many blocks of activations, those of all rows: integers, in whole cache lines, and scales."""
    line = 16  # uint32
    words = np.empty(blocks * ACTIVATION_WORDS + line, np.uint32)
    begin = -words.ctypes.data % (4 * line) // 4
    return words[begin : begin + blocks * ACTIVATION_WORDS], np.empty((blocks + ROWS) * ACTIVATION_SCALES, np.float32)


@compiled(inline="always")
def tiled(rows):  # type: ignore[no-untyped-def]
    """Whether so many rows are multiplied with AMX, tiles being unpacked before."""
    return AMX and rows >= TILED_ROWS


@compiled(inline="always")
def group_of(row, rows):  # type: ignore[no-untyped-def]
    """Where the group that a row is multiplied in begins, and how many rows it has."""
    if tiled(rows):
        begin = row // ROWS * ROWS
        return begin, min(np.int64(ROWS), rows - begin)
    begin = np.int64(0)
    if MANY_REGISTERS:
        begin = row // 8 * 8
        if rows - begin >= 8:
            return begin, np.int64(8)
    for size in (np.int64(4), np.int64(2)):
        while rows - begin >= size:
            if row < begin + size:
                return begin, size
            begin += size
    return begin, np.int64(1)


@compiled()
def quantize_row(x, row, rows, blocks, words, scales):  # type: ignore[no-untyped-def]
    """Row `row` of `rows`: x (32 · blocks,) as 16-bit integers, laid out for products of its group."""
    begin, size = group_of(row, rows)
    for block in range(blocks):
        quantize_block(x, block * BLOCK, words, scales, begin * blocks + block * size + row - begin)


@compiled()
def _quantize_rows(x, words, scales):  # type: ignore[no-untyped-def]
    """x (rows, 32 · blocks) → integers and scales for `multiply_tiles_into`."""
    rows, blocks = x.shape[0], x.shape[1] // BLOCK
    for row in range(rows):
        quantize_row(x[row], row, rows, blocks, words, scales)


def _multiplier(rows: int) -> Any:
    @compiled()
    def multiply_rows(form, address, blocks, words, scales, first, y):  # type: ignore[no-untyped-def]
        """`rows` rows times the tile at an address; `first` is the number of their first block."""
        if form == 0:
            tile_products(rows, 0, address, blocks, words, scales, first, y)
        elif form == 1:
            tile_products(rows, 1, address, blocks, words, scales, first, y)
        elif form == 2:
            tile_products(rows, 2, address, blocks, words, scales, first, y)
        elif form == 3:
            tile_products(rows, 3, address, blocks, words, scales, first, y)
        elif form == 4:
            tile_products(rows, 4, address, blocks, words, scales, first, y)
        else:
            tile_products(rows, 5, address, blocks, words, scales, first, y)

    return multiply_rows


_multiply_1, _multiply_2, _multiply_4, _multiply_8 = (_multiplier(rows) for rows in (1, 2, 4, 8))

if AMX:

    @compiled()
    def _unpack(form, address, blocks, room):  # type: ignore[no-untyped-def]
        """The tile at an address, unpacked to the address `room`."""
        if form == 0:
            unpack_tile(0, address, blocks, room)
        elif form == 1:
            unpack_tile(1, address, blocks, room)
        elif form == 2:
            unpack_tile(2, address, blocks, room)
        elif form == 3:
            unpack_tile(3, address, blocks, room)
        elif form == 4:
            unpack_tile(4, address, blocks, room)
        else:
            unpack_tile(5, address, blocks, room)

    def _unpacked_multiplier(halves: bool) -> Any:
        @compiled()
        def multiply_unpacked(rows, room, blocks, words, scales, first, y):  # type: ignore[no-untyped-def]
            """`rows` rows times the unpacked tile; those up to 8 or 16 are computed as well, and nobody reads them."""
            if rows <= 8:
                unpacked_products(8, halves, rows, room, blocks, words, scales, first, y)
            else:
                unpacked_products(16, halves, rows, room, blocks, words, scales, first, y)

        return multiply_unpacked

    _multiply_blocks, _multiply_halves = (_unpacked_multiplier(halves) for halves in (False, True))

    @compiled()
    def _multiply_unpacked(form, room, blocks, words, scales, first, size, y):  # type: ignore[no-untyped-def]
        if form == K6:
            _multiply_halves(size, room, blocks, words, scales, first, y)
        else:
            _multiply_blocks(size, room, blocks, words, scales, first, y)

else:

    @compiled()
    def _unpack(form, address, blocks, room):  # type: ignore[no-untyped-def]
        """Never called: `tiled` is False."""

    @compiled()
    def _multiply_unpacked(form, room, blocks, words, scales, first, size, y):  # type: ignore[no-untyped-def]
        """Never called: `tiled` is False."""


@compiled()
def new_room(rows, blocks):  # type: ignore[no-untyped-def]
    """(bytes,) for unpacked tiles of this many blocks, at least four; empty where none are unpacked."""
    return np.empty(max(np.int64(_ROOM_BYTES), 4 * blocks * ROOM) + 64 if tiled(rows) else 0, np.uint8)


@compiled()
def open_tiles(form, address, tiles, blocks, rows, room, first):  # type: ignore[no-untyped-def]
    """Make tiles ready to be multiplied with so many rows: unpack them to `room`, as its tiles from `first` on."""
    if tiled(rows):
        size = tile_bytes(form, blocks)
        for tile in range(tiles):
            _unpack(form, address + tile * size, blocks, _place(room, blocks, first + tile))


@compiled(inline="always")
def tiles_open(blocks, rows, room):  # type: ignore[no-untyped-def]
    """Tiles that are made ready at once."""
    return max(1, (len(room) - 64) // (blocks * ROOM)) if tiled(rows) else 1


@compiled(inline="always")
def _place(room, blocks, tile):  # type: ignore[no-untyped-def]
    """The address of an unpacked tile in `room`."""
    return (room.ctypes.data + 63) // 64 * 64 + tile * blocks * ROOM


@compiled()
def multiply_tile(form, address, blocks, words, scales, begin, size, rows, room, tile, y):  # type: ignore[no-untyped-def]
    """The group that begins with row `begin`, of `rows`, times the tile at an address → y (16 · size,), row by row.

    The tile is number `tile` of `room`, which `open_tiles` has filled. y has room for 16 · `GROUP` numbers.
    """
    first = begin * blocks
    if tiled(rows):
        _multiply_unpacked(form, _place(room, blocks, tile), blocks, words, scales, first, size, y)
    elif size == 8:
        _multiply_8(form, address, blocks, words, scales, first, y)
    elif size == 4:
        _multiply_4(form, address, blocks, words, scales, first, y)
    elif size == 2:
        _multiply_2(form, address, blocks, words, scales, first, y)
    else:
        _multiply_1(form, address, blocks, words, scales, first, y)


@compiled()
def multiply_tiles_into(form, address, tiles, blocks, words, scales, y, column, adding, room):  # type: ignore[no-untyped-def]
    """All rows times consecutive tiles → columns of y (rows, columns) from `column` on, or added to them.

    `room` is what `new_room` gives."""
    rows, size, scratch = y.shape[0], tile_bytes(form, blocks), np.empty(GROUP * LANES, np.float32)
    at_once = tiles_open(blocks, rows, room)
    for first in range(0, tiles, at_once):
        here = min(at_once, tiles - first)
        open_tiles(form, address + first * size, here, blocks, rows, room, 0)
        row = 0
        while row < rows:
            _, group = group_of(row, rows)
            for tile in range(here):
                place = address + (first + tile) * size
                multiply_tile(form, place, blocks, words, scales, row, group, rows, room, tile, scratch)
                _put(scratch, y[row : row + group], column + (first + tile) * LANES, adding)
            row += group


@compiled(inline="always")
def _put(found, y, column, adding):  # type: ignore[no-untyped-def]
    """Products of a tile (16 · rows,) into the columns of y (rows, columns) from `column` on, or added to them."""
    whole = y.shape[1] - column >= LANES
    for member in range(y.shape[0]):
        here = y[member]
        if whole:
            vector = load(found, member * LANES)
            store(here, column, add(load(here, column), vector) if adding else vector)
            continue
        for lane in range(y.shape[1] - column):
            here[column + lane] = found[member * LANES + lane] + (here[column + lane] if adding else np.float32(0))


@compiled()
def _multiply(counters, form, address, tiles, blocks, chunk, words, scales, y):  # type: ignore[no-untyped-def]
    """All rows times the tiles that this thread claims."""
    size, room = tile_bytes(form, blocks), new_room(len(y), blocks)
    tasks = (tiles + chunk - 1) // chunk
    while True:
        task = claim(counters, 0)
        if task >= tasks:
            return
        tile = task * chunk
        here, column = min(chunk, tiles - tile), tile * LANES
        multiply_tiles_into(form, address + tile * size, here, blocks, words, scales, y, column, False, room)
        finish(counters, 0)
