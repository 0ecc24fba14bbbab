"""The weights of a Llama, Qwen2 or Qwen3 decoder as the kernel reads them: quantised matrices, norms and biases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.kernels.block_quantized import FORMATS, BlockMatrix
from model.weights.gguf import GgufTensor

KERNEL_TYPES = ("llama", "qwen2", "qwen3")
"""Model types, as `transformers` names them, that the kernel runs."""
MATRICES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
"""The matrices of a layer, in the order in which it reads them, and their keys in `transformers`."""
_SHAPES = "decoder.matrices"


@dataclass(frozen=True)
class DecoderWeights:
    """What a decoder is made of, apart from its embedding and its head."""

    matrices: Sequence[Sequence[BlockMatrix]]
    """Of each layer, in the order of `MATRICES`."""
    norms: Tensor
    """(layers, 2, width): before attention and before the MLP."""
    last_norm: Tensor
    """(width,)"""
    biases: Tensor
    """(layers, outputs of q, k and v), or (layers, 0)."""
    head_norms: Tensor
    """(layers, 2, head_dim) of each head's q and k (Qwen3), or (layers, 2, 0)."""
    frequencies: Tensor
    """(head_dim / 2,) of the rotary positions."""
    heads: int
    groups: int
    """Heads of keys and values."""
    eps: float

    @classmethod
    def from_module(cls, body: Any) -> DecoderWeights:
        """Take the weights of a `transformers` decoder and round its matrices to 8 bits, where they are not exact."""
        layers, fields = body.layers, body.config

        def joined(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([part.detach().float() for part in parts])

        attention = [layer.self_attn for layer in layers]
        biases = [[one.q_proj.bias, one.k_proj.bias, one.v_proj.bias] for one in attention]
        return cls(
            [[BlockMatrix(layer.get_submodule(key).weight) for key in MATRICES.values()] for layer in layers],
            torch.stack(
                [torch.stack([one.input_layernorm.weight, one.post_attention_layernorm.weight]) for one in layers]
            ),
            body.norm.weight,
            torch.stack([joined(three) for three in biases]) if biases[0][0] is not None else _none(len(layers)),
            torch.stack([torch.stack([one.q_norm.weight, one.k_norm.weight]) for one in attention])
            if hasattr(attention[0], "q_norm")
            else _none(len(layers), 2),
            body.rotary_emb.inv_freq,
            int(fields.num_attention_heads),
            int(fields.num_key_value_heads),
            float(fields.rms_norm_eps),
        )

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the small weights and of the first 4 KiB of each matrix: other weights have another one."""
        found = hashlib.sha256()
        for small in (self.norms, self.last_norm, self.biases, self.head_norms, self.frequencies):
            found.update(small.detach().float().contiguous().numpy().tobytes())
        for matrix in (matrix for layer in self.matrices for matrix in layer):
            found.update(matrix.data[:4096].tobytes())
        return found.hexdigest()

    @staticmethod
    def holds(body: nn.Module) -> bool:
        """Whether a decoder has nothing that would be left out: no bias but of q, k and v."""
        layer: Any = body.layers[0]  # type: ignore[index]
        rest = (layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj)
        return all(part.bias is None for part in rest)

    @classmethod
    def from_sections(cls, fields: Mapping[str, Any], sections: Mapping[str, np.ndarray]) -> DecoderWeights:
        """What `sections` wrote; `fields` are those of a `transformers` configuration. Nothing is copied."""
        shapes = json.loads(bytes(sections[_SHAPES]))

        def matrix(layer: int, name: str) -> BlockMatrix:
            key = f"decoder.{layer}.{name}"
            return BlockMatrix.over(sections[key], *shapes[key])

        def array(name: str) -> Tensor:
            return torch.from_numpy(np.array(sections[f"decoder.{name}"]))

        heads = int(fields["num_attention_heads"])
        return cls(
            [[matrix(layer, name) for name in MATRICES] for layer in range(int(fields["num_hidden_layers"]))],
            array("norms"),
            array("last_norm"),
            array("biases"),
            array("head_norms"),
            array("frequencies"),
            heads,
            int(fields.get("num_key_value_heads") or heads),
            float(fields["rms_norm_eps"]),
        )


def _none(*shape: int) -> Tensor:
    return torch.zeros(*shape, 0)


def packed_matrix(tensor: GgufTensor) -> BlockMatrix:
    """A matrix of a GGUF file: as it is where its kind is one of ours, else rounded to 8 bits."""
    if tensor.kind in FORMATS:
        return BlockMatrix.from_gguf(tensor.kind, tensor.rows)
    return BlockMatrix(torch.from_numpy(np.array(tensor.exact(), np.float32)))


def decoder_sections(fields: Mapping[str, Any], tensors: Mapping[str, GgufTensor]) -> Iterator[tuple[str, np.ndarray]]:
    """A decoder's tensors, under the keys of `transformers`, as named arrays that can be kept in a file.

    One matrix is in memory at a time. `fields` are those of a `transformers` configuration.
    """
    layers, shapes = range(int(fields["num_hidden_layers"])), {}
    for layer in layers:
        for name, key in MATRICES.items():
            matrix = packed_matrix(tensors[f"layers.{layer}.{key}.weight"])
            shapes[f"decoder.{layer}.{name}"] = (matrix.form, matrix.outputs, matrix.inputs)
            yield f"decoder.{layer}.{name}", matrix.data
    yield _SHAPES, np.frombuffer(json.dumps(shapes).encode(), np.uint8)

    def exact(key: str) -> np.ndarray:
        return np.array(tensors[key].exact(), np.float32)

    def stacked(*keys: str) -> np.ndarray:
        return np.stack([np.stack([exact(f"layers.{layer}.{key}.weight") for key in keys]) for layer in layers])

    yield "decoder.norms", stacked("input_layernorm", "post_attention_layernorm")
    yield "decoder.last_norm", exact("norm.weight")
    of_q = [f"{MATRICES[name]}.bias" for name in "qkv"]
    biased = f"layers.0.{of_q[0]}" in tensors
    yield (
        "decoder.biases",
        np.stack(
            [np.concatenate([exact(f"layers.{layer}.{key}") for key in of_q]) if biased else _EMPTY for layer in layers]
        ),
    )
    normed = "layers.0.self_attn.q_norm.weight" in tensors
    none = np.zeros((len(layers), 2, 0), np.float32)
    yield "decoder.head_norms", stacked("self_attn.q_norm", "self_attn.k_norm") if normed else none
    yield "decoder.frequencies", rotary_frequencies(fields)


_EMPTY = np.zeros(0, np.float32)


def rotary_frequencies(fields: Mapping[str, Any]) -> np.ndarray:
    """(head_dim / 2,) float32: of the rotary positions (https://arxiv.org/abs/2104.09864), divided by `rope_factors`
    where the configuration has them."""
    heads = int(fields["num_attention_heads"])
    head_dim = int(fields.get("head_dim") or int(fields["hidden_size"]) // heads)
    powers = torch.arange(0, head_dim, 2).float() / head_dim
    found = 1.0 / float(fields["rope_theta"]) ** powers
    if factors := fields.get("rope_factors"):
        found = found / torch.tensor(factors)
    return found.numpy()
