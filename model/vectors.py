"""Sixteen numbers at a time, for loops that Numba compiles: what LLVM does not find by itself is said openly here.

A `Vector` is sixteen float32 in registers (one of AVX-512, two of AVX2, four of NEON). It lives only inside compiled
functions. Addresses are counted in elements of a flat array.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from model.kernels.processor import AMX

LANES = 16
ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}
"""What `fastmath` may do: sum in another order. Numbers that are none must stay so, for the engine looks for them."""

FLOATS = ir.VectorType(ir.FloatType(), LANES)
HALVES = ir.VectorType(ir.HalfType(), LANES)
WORDS = ir.VectorType(ir.IntType(32), LANES)
_COUNT = ir.IntType(32)


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


Vector = _VectorType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile at the first call, without the interpreter's lock; kept on disk where that can be written to."""

    def compile_it(function: Callable[..., Any]) -> Any:
        options.setdefault("nogil", True)
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # nowhere to write: it is compiled at every start
            return numba.njit(**options)(function)

    return compile_it


def _keep_apart_by_source() -> None:
    """What was compiled is kept in a folder named after the source of all compiled functions: Numba itself forgets it
    only when the function's own file changes, not when one that it calls does. AMX is part of the name: whether a
    process may use it depends on more than the processor."""
    here = Path(__file__).parent
    sources = [path.read_bytes() for path in sorted(here.rglob("*.py"))]
    compiled_ones = [source for source in sources if b"model.vectors" in source or b"numba" in source]
    mark = sha256(b"".join([*compiled_ones, b"AMX" if AMX else b""])).hexdigest()[:12]
    base = Path(numba.config.CACHE_DIR or here / "__pycache__")
    numba.config.CACHE_DIR = str(writable(base / f"compiled-{mark}"))


def writable(folder: Path) -> Path:
    """The folder, or a copy of it where nothing may be written beside what it holds, as in a container whose files are
    read-only: Numba reads only from where it can write to."""
    if not folder.is_dir() or os.access(folder, os.W_OK):
        return folder
    try:
        copy = Path(tempfile.mkdtemp(prefix="compiled-")) / folder.name
        shutil.copytree(folder, copy)
    except OSError:  # nowhere at all: it is compiled at every start
        return folder
    return copy


_keep_apart_by_source()


def same(kind: ir.VectorType, value: Any) -> ir.Constant:
    """A constant in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def element_pointer(builder: Any, data: Any, at: Any, kind: ir.Type) -> Any:
    """Where the element `at` of an array's data is, as the place of something of this kind."""
    return builder.bitcast(builder.gep(data, [at]), kind.as_pointer())


def load_vector(builder: Any, data: Any, at: Any, kind: ir.VectorType = FLOATS) -> Any:
    """A vector of an array's elements from `at` on, wherever in memory that is."""
    loaded = builder.load(element_pointer(builder, data, at, kind))
    loaded.align = 2 if kind is HALVES else 4
    return loaded


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a · b + c of float32 vectors, rounded once."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [a, b, c])


def in_every_lane(builder: Any, number: Any, kind: ir.VectorType = FLOATS) -> Any:
    """A number of a vector's kind in all its lanes."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_COUNT, 0))
    return builder.shuffle_vector(first, undefined, same(WORDS, 0))


def prefetch_place(builder: Any, data: Any, at: Any) -> None:
    """Begin to bring this place of an array into the first cache, also past its end: nothing is read."""
    place = element_pointer(builder, data, at, ir.IntType(8))
    kind = ir.FunctionType(ir.VoidType(), [place.type, _COUNT, _COUNT, _COUNT])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    read, keep, data_cache = (ir.Constant(_COUNT, number) for number in (0, 3, 1))
    builder.call(function, [place, read, keep, data_cache])


@intrinsic
def broadcast(_typing, number):  # type: ignore[no-untyped-def]
    """A float32 in every lane."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return in_every_lane(builder, arguments[0])

    return Vector(types.float32), generate


@intrinsic
def multiply_add(_typing, a, b, c):  # type: ignore[no-untyped-def]
    """a · b + c, rounded once."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return fused(builder, *arguments)

    return Vector(Vector, Vector, Vector), generate


@intrinsic
def load(_typing, array, at):  # type: ignore[no-untyped-def]
    """Sixteen float32 of a float32 array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return load_vector(builder, data, at)

    return Vector(array, types.intp), generate


@intrinsic
def load_halves(_typing, array, at):  # type: ignore[no-untyped-def]
    """Sixteen float16, held in a uint16 array, as float32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return builder.fpext(load_vector(builder, data, at, HALVES), FLOATS)

    return Vector(array, types.intp), generate


@intrinsic
def store_halves(_typing, array, at, vector):  # type: ignore[no-untyped-def]
    """Into sixteen places of a uint16 array, as float16."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        halves = builder.fptrunc(arguments[2], HALVES)
        builder.store(halves, element_pointer(builder, data, arguments[1], HALVES)).align = 2
        return context.get_dummy_value()

    return types.void(array, types.intp, Vector), generate


@intrinsic
def store(_typing, array, at, vector):  # type: ignore[no-untyped-def]
    """Into sixteen places of a float32 array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        builder.store(arguments[2], element_pointer(builder, data, arguments[1], FLOATS)).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, Vector), generate


@intrinsic
def add(_typing, a, b):  # type: ignore[no-untyped-def]
    """a + b."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fadd(*arguments)

    return Vector(Vector, Vector), generate


@intrinsic
def total_of(_typing, vector):  # type: ignore[no-untyped-def]
    """The sum of all lanes, in pairs."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        half = arguments[0]
        for count in (8, 4, 2, 1):
            lanes = [ir.Constant(ir.VectorType(_COUNT, count), list(range(at, at + count))) for at in (0, count)]
            half = builder.fadd(*(builder.shuffle_vector(half, half, part) for part in lanes))
        return builder.extract_element(half, ir.Constant(_COUNT, 0))

    return types.float32(Vector), generate


@intrinsic
def prefetch(_typing, array, at):  # type: ignore[no-untyped-def]
    """Begin to bring this place of an array near, also past its end: nothing is read."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        prefetch_place(builder, data, arguments[1])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@compiled()
def exponential(x):  # type: ignore[no-untyped-def]
    """e^x for float32 as Cephes' `expf` computes it, but in a form that LLVM does for many numbers at once."""
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    power = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    x = x - power * np.float32(0.693359375) + power * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * x + np.float32(1.3981999507e-3)
    y = y * x + np.float32(8.3334519073e-3)
    y = y * x + np.float32(4.1665795894e-2)
    y = y * x + np.float32(1.6666665459e-1)
    y = y * x + np.float32(5.0000001201e-1)
    y = y * x * x + x + np.float32(1)
    return y * np.int32((np.int32(power) + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled(fastmath=ANY_ORDER)
def gelu(x, scratch):  # type: ignore[no-untyped-def]
    """With the error function as Abramowitz and Stegun give it (7.1.26), right to 1.5e-7; in two loops, for LLVM does
    many at once only so."""
    for c in range(len(x)):
        scratch[c] = exponential(np.float32(-0.5) * x[c] * x[c])
    for c in range(len(x)):
        size = abs(x[c])
        t = np.float32(1) / (np.float32(1) + np.float32(0.3275911 * 0.70710678) * size)
        series = np.float32(-1.453152027) + t * np.float32(1.061405429)
        series = np.float32(0.254829592) + t * (np.float32(-0.284496736) + t * (np.float32(1.421413741) + t * series))
        x[c] = np.float32(0.5) * (x[c] + size * (np.float32(1) - t * series * scratch[c]))
