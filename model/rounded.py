"""Weights on disk in int8: a quarter of float32's bytes, for parts that bear it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

_SCALE = "@scale"


def save_rounded(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights: matrices in int8, with a scale for each output; the rest in half precision."""
    kept: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if tensor.ndim < 2:
            kept[name] = tensor.half().contiguous()
            continue
        flat = tensor.float().flatten(1)
        scale = flat.abs().amax(1).clamp(min=1e-8) / 127
        kept[name] = (flat / scale[:, None]).round().to(torch.int8).view(tensor.shape).contiguous()
        kept[f"{name}{_SCALE}"] = scale
    save_file(kept, path, dict(metadata or {}))


def load_rounded(path: Path) -> dict[str, Tensor]:
    """The weights of a file of `save_rounded`, float32."""
    kept = load_file(path)
    state = {name: tensor.float() for name, tensor in kept.items() if not name.endswith(_SCALE)}
    for name, tensor in state.items():
        if (scale := kept.get(f"{name}{_SCALE}")) is not None:
            tensor.mul_(scale.view(-1, *[1] * (tensor.ndim - 1)))
    return state
