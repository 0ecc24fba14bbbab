"""CTranslate2's model file (binary version 5 and 6): every variable, as it stands there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from model.weights.errors import WeightsError
from model.weights.joined_bytes import JoinedBytes

_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def _string(stream: JoinedBytes) -> str:
    return stream.string("H").removesuffix("\0")


def read_ctranslate2(files: Iterable[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Every variable of a model file, possibly cut in parts, as (name, array).

    Raises `WeightsError` for an older version and for a file that ends early.
    """
    stream = JoinedBytes(files)
    version = stream.unsigned("I")
    if version < 5:
        raise WeightsError(f"{stream.name}: CTranslate2's version {version} is not read, wanted 5 or newer")
    _string(stream)  # spec
    stream.unsigned("I")  # revision
    for _ in range(stream.unsigned("I")):
        name = _string(stream)
        shape = tuple(stream.unsigned("I") for _ in range(stream.unsigned("B")))
        kind = np.dtype(_TYPES[stream.unsigned("B")])
        data = stream.read(stream.unsigned("I"))
        yield name, np.frombuffer(data, kind).reshape(shape)
