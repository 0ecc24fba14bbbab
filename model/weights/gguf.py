"""Metadata and tensors of GGUF files (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md), whole or in parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from model.weights.errors import WeightsError
from model.weights.joined_bytes import JoinedBytes

KINDS = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K")
"""Number formats of tensors that are read."""
_VERSIONS = (2, 3)
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's type of a value → that of the `struct` module."""
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """A tensor as it stands in a GGUF file: rows of numbers, or of the bytes of its blocks."""

    name: str
    kind: str
    """One of `KINDS`."""
    rows: np.ndarray
    """(…, n) float32 for F32; (…, bytes of a row) uint8 for the others."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the numbers, the last dimension that of a row."""
        if self.kind == "F32":
            return self.rows.shape
        import gguf

        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[self.kind]]
        return (*self.rows.shape[:-1], self.rows.shape[-1] // size * block)

    def exact(self) -> np.ndarray:
        """The numbers, (…, n) float32; for F32 the rows themselves."""
        if self.kind == "F32":
            return self.rows
        import gguf

        numbers: np.ndarray = gguf.dequantize(self.rows, gguf.GGMLQuantizationType[self.kind])
        return numbers


class GgufFile:
    """A GGUF file, mapped into memory. `metadata` holds all of its keys, arrays as lists."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """`paths`: the file, or its consecutive parts. Raises `WeightsError` for what is no whole GGUF file."""
        self._bytes = bytes_ = JoinedBytes(paths)
        if bytes_.size < 4 or bytes(bytes_.read(4)) != b"GGUF":
            raise WeightsError(f"{self.name} is not a GGUF file; give one, or fetch it again")
        version = bytes_.unsigned("I")
        if version not in _VERSIONS:
            raise WeightsError(
                f"{self.name} is GGUF of version {version}; versions {_VERSIONS[0]} and {_VERSIONS[1]} are read, in "
                "little-endian byte order: convert the model anew"
            )
        tensors, fields = bytes_.unsigned("Q"), bytes_.unsigned("Q")
        try:
            self.metadata: Mapping[str, Any] = {bytes_.string("Q"): self._value() for _ in range(fields)}
            self._listed = [self._entry() for _ in range(tensors)]
        except UnicodeDecodeError as error:
            raise WeightsError(f"{self.name} is damaged: a string is not UTF-8 ({error}); fetch it again") from error
        alignment = int(self.metadata.get("general.alignment", 32))
        self._data = -(-bytes_.position // alignment) * alignment

    @property
    def name(self) -> str:
        """The file, for messages."""
        return self._bytes.name

    @property
    def architecture(self) -> str:
        """Such as `llama` or `qwen2`."""
        return str(self.metadata.get("general.architecture", "unknown"))

    @cached_property
    def tensors(self) -> Mapping[str, GgufTensor]:
        """Every tensor by its name: views of the file, copies where a tensor crosses parts.

        Raises `WeightsError` for a number format that is not in `KINDS`, and for a file that ends early.
        """
        return {name: self._tensor(name, shape, kind, offset) for name, shape, kind, offset in self._listed}

    def _value(self, kind: int | None = None) -> Any:
        """The next value of the metadata, its type before it where `kind` is None."""
        kind = self._bytes.unsigned("I") if kind is None else kind
        if kind in _NUMBERS:
            return self._bytes.number(_NUMBERS[kind])
        if kind == _STRING:
            return self._bytes.string("Q")
        if kind == _ARRAY:
            inner, count = self._bytes.unsigned("I"), self._bytes.unsigned("Q")
            if inner in _NUMBERS:
                dtype = np.dtype(_NUMBERS[inner]).newbyteorder("<")
                return np.frombuffer(self._bytes.read(count * dtype.itemsize), dtype).tolist()
            return self._bytes.strings(count) if inner == _STRING else [self._value(inner) for _ in range(count)]
        raise WeightsError(f"{self.name} is damaged: there is no type {kind} of values; fetch it again")

    def _entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """The next tensor's name, shape (rows first), number format and offset."""
        name, dimensions = self._bytes.string("Q"), self._bytes.unsigned("I")
        shape = tuple(self._bytes.unsigned("Q") for _ in range(dimensions))[::-1]
        return name, shape, self._bytes.unsigned("I"), self._bytes.unsigned("Q")

    def _tensor(self, name: str, shape: tuple[int, ...], number: int, offset: int) -> GgufTensor:
        import gguf

        known = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}
        kind = known.get(number, f"of the unknown format {number}")
        if kind not in KINDS:
            raise WeightsError(f"{self.name}: the tensor {name} is {kind}; {', '.join(KINDS)} are run")
        block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
        if not shape or shape[-1] % block:
            raise WeightsError(
                f"{self.name} is damaged: {name} has the shape {shape} in blocks of {block}; fetch it again"
            )
        self._bytes.position = self._data + offset
        data = np.frombuffer(self._bytes.read(math.prod(shape) // block * size), np.uint8)
        rows = data.view(np.float32).reshape(shape) if kind == "F32" else data.reshape(*shape[:-1], -1)
        return GgufTensor(name, kind, rows)
