"""Reads a checkpoint's files and says exactly what is wrong with them: file, key, wanted and found, what to do.

Nothing that a file brings is ever run: pickles are read with `weights_only=True`.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from model.request import OmniError

Shapes = Mapping[str, tuple[int, ...]]


class CheckpointError(OmniError):
    """A checkpoint cannot be opened; the message names file, key, what was wanted and found, and what to do."""

    code = "checkpoint_error"


def _present(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; fetch the checkpoint again, all files of it")
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file, whole."""
    try:
        return load_file(_present(path))
    except SafetensorError as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}); fetch it again") from error


def read_pickle(path: Path) -> Any:
    """A file of `torch.save`, tensors only, mapped into memory."""
    try:
        return torch.load(_present(path), map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors, which is not loaded ({error}); save its weights alone, as a flat dict"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged or cut short ({error}); fetch it again") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict saved with `torch.save`."""
    state = read_pickle(path)
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} is not a flat dict of tensors; save the model's state_dict() alone")
    return state


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object."""
    try:
        fields = json.loads(_present(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); fetch it again") from error
    return _mapping(fields, path)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping."""
    try:
        fields = yaml.safe_load(_present(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise CheckpointError(f"{path} is not YAML ({error}); fetch it again") from error
    return _mapping(fields, path)


def _mapping(fields: Any, path: Path) -> dict[str, Any]:
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} holds a {type(fields).__name__}, wanted fields and values; fetch it again")
    return fields


def read_tokenizer(path: Path) -> Tokenizer | None:
    """`tokenizer.json`; None when there is none: the model then takes and gives token ids only."""
    if not path.is_file():
        return None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises bare Exceptions
        raise CheckpointError(f"{path} is no tokenizer ({error}); fetch it again") from error


def shapes_of(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes."""
    return {name: tuple(tensor.shape) for name, tensor in tensors}


def check_keys(wanted: Shapes, state: Mapping[str, Tensor], file: Path) -> None:
    """Every wanted key is there with its shape, and no other; `CheckpointError` otherwise."""
    for key, shape in wanted.items():
        if key not in state:
            raise CheckpointError(
                f"{file}: the key {key!r} is missing (wanted shape {shape}); the file is not of this model or not whole"
            )
        if tuple(state[key].shape) != shape:
            raise CheckpointError(
                f"{file}: {key!r} has shape {tuple(state[key].shape)}, wanted {shape}; weights and config do not match"
            )
    if unknown := sorted(set(state) - set(wanted)):
        raise CheckpointError(
            f"{file}: the key {unknown[0]!r} is unknown ({len(unknown)} such); the config describes another model"
        )


def fill(module: nn.Module, state: Mapping[str, Tensor], file: Path, dtype: torch.dtype | None = None) -> None:
    """Load a state dict, exactly. With a `dtype` the module takes the tensors themselves, each cast to it."""
    check_keys(shapes_of(module.state_dict().items()), state, file)
    if dtype is None:
        module.load_state_dict(state)
    else:
        module.load_state_dict({key: tensor.to(dtype) for key, tensor in state.items()}, assign=True)
