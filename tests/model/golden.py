"""The published code's own results on seeded random weights, and those weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

PATH = Path(__file__).parents[1] / "data" / "golden.npz"


def load() -> dict[str, np.ndarray]:
    with np.load(PATH) as file:
        return {name: file[name] for name in file.files}


def fields(golden: dict[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `model_config.yaml`."""
    config: dict[str, Any] = json.loads(str(golden["config"]))
    return config


def seeded(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Weights under the published keys, each drawn from its own name."""
    state = {}
    for key, shape in shapes.items():
        x = np.random.default_rng([seed, zlib.crc32(key.encode())]).standard_normal(tuple(shape), dtype=np.float32)
        if key.endswith("bias"):
            x = 0.1 * x
        elif x.ndim == 1:
            x = 1 + 0.1 * x
        elif key != "transformer.wte.weight":
            x = x / np.sqrt(shape[-1])
        state[key] = torch.from_numpy(x.astype(np.float32))
    return state


def weights(golden: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The state dict that the golden arrays were computed with."""
    state = seeded(json.loads(str(golden["shapes"])), int(golden["seed"]))
    state["lm_head.weight"][torch.from_numpy(golden["override_rows"])] = torch.from_numpy(golden["override_values"])
    return state
