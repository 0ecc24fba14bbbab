"""Sixteen numbers at a time, for loops that Numba compiles: what LLVM does not find by itself is said openly here.

A `Vector` is sixteen float32 in registers (one of AVX-512, two of AVX2, four of NEON), a `Words` sixteen uint32. They
live only inside compiled functions. Addresses are counted in elements of a flat array.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}
"""What `fastmath` may do: sum in another order. Numbers that are none must stay so, for the engine looks for them."""

_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_HALVES = ir.VectorType(ir.HalfType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_COUNT = ir.IntType(32)


class _VectorType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Vector")


class _WordsType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Words")


Vector, Words = _VectorType(), _WordsType()


@register_model(_VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _FLOATS)


@register_model(_WordsType)
class _WordsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WORDS)


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
    only when the function's own file changes, not when one that it calls does."""
    here = Path(__file__).parent
    sources = [path.read_bytes() for path in sorted(here.glob("*.py"))]
    mark = sha256(b"".join(source for source in sources if b"model.vectors" in source)).hexdigest()[:12]
    base = Path(numba.config.CACHE_DIR or here / "__pycache__")
    numba.config.CACHE_DIR = str(base / f"compiled-{mark}")


_keep_apart_by_source()


@cache
def host_features() -> dict[str, bool]:
    """What this processor can do, by LLVM's names."""
    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some systems
        return {}


def _same(kind: ir.Type, value: Any) -> ir.Constant:
    return ir.Constant(kind, [value] * LANES)


def _load(context: Any, builder: Any, signature: Any, arguments: Any, kind: ir.VectorType, align: int) -> Any:
    array, at = arguments
    data = context.make_array(signature.args[0])(context, builder, array).data
    loaded = builder.load(builder.bitcast(builder.gep(data, [at]), kind.as_pointer()))
    loaded.align = align
    return loaded


def _in_every_lane(builder: Any, number: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(_COUNT, 0))
    return builder.shuffle_vector(first, undefined, _same(_WORDS, 0))


@intrinsic
def broadcast(_typing, number):  # type: ignore[no-untyped-def]
    """A float32 in every lane."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return _in_every_lane(builder, arguments[0])

    return Vector(types.float32), generate


@intrinsic
def multiply_add(_typing, a, b, c):  # type: ignore[no-untyped-def]
    """a · b + c, rounded once."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_FLOATS, [_FLOATS] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), arguments)

    return Vector(Vector, Vector, Vector), generate


@intrinsic
def add(_typing, a, b):  # type: ignore[no-untyped-def]
    """a + b."""

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fadd(*arguments)

    return Vector(Vector, Vector), generate


@intrinsic
def load(_typing, array, at):  # type: ignore[no-untyped-def]
    """Sixteen float32 of a float32 array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _load(context, builder, signature, arguments, _FLOATS, 4)

    return Vector(array, types.intp), generate


@intrinsic
def load_same(_typing, array, at):  # type: ignore[no-untyped-def]
    """One float32 of a float32 array, in every lane."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        return _in_every_lane(builder, builder.load(builder.gep(data, [at])))

    return Vector(array, types.intp), generate


@intrinsic
def load_halves(_typing, array, at):  # type: ignore[no-untyped-def]
    """Sixteen float16, held in a uint16 array, as float32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.fpext(_load(context, builder, signature, arguments, _HALVES, 2), _FLOATS)

    return Vector(array, types.intp), generate


@intrinsic
def load_words(_typing, array, at):  # type: ignore[no-untyped-def]
    """Sixteen uint32 of a uint32 array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return _load(context, builder, signature, arguments, _WORDS, 4)

    return Words(array, types.intp), generate


@intrinsic(prefer_literal=True)
def field(_typing, words, mask, shift):  # type: ignore[no-untyped-def]
    """(words >> shift) & mask as float32; `mask` and `shift` are literals, and the result is below 2³¹."""
    kept, moved = mask.literal_value, shift.literal_value

    def generate(_context, builder, _signature, arguments):  # type: ignore[no-untyped-def]
        found = builder.lshr(arguments[0], _same(_WORDS, moved)) if moved else arguments[0]
        return builder.sitofp(builder.and_(found, _same(_WORDS, kept)), _FLOATS)

    return Vector(Words, mask, shift), generate


@intrinsic
def store(_typing, array, at, vector):  # type: ignore[no-untyped-def]
    """Into sixteen places of a float32 array."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target = builder.bitcast(builder.gep(data, [arguments[1]]), _FLOATS.as_pointer())
        builder.store(arguments[2], target).align = 4
        return context.get_dummy_value()

    return types.void(array, types.intp, Vector), generate


@intrinsic
def prefetch(_typing, array, at):  # type: ignore[no-untyped-def]
    """Begin to bring this place of an array near, also past its end: nothing is read."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, at = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        place = builder.bitcast(builder.gep(data, [at]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, _COUNT, _COUNT, _COUNT])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        read, keep, data_cache = (ir.Constant(_COUNT, number) for number in (0, 3, 1))
        builder.call(function, [place, read, keep, data_cache])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate
