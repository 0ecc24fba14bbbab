"""The body made quick for serving: the same sums as `transformers`' Llama and Qwen2 modules in a fifth of the calls.

q, k and v are one product, gate and up another; rotary angles come from a table; query heads that share a key head
are attended together, so keys and values are never expanded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.blocks import BlockMatrix
from model.body_step import BodyStep
from model.cache import SlotCache
from model.config import OmniConfig
from model.packed import Projection, WeightFormat, rms_norm
from model.step_graphs import StepGraphs
from model.vectors import LANES
from model.weights.gguf import GgufTensor

FUSED_TYPES = ("llama", "qwen2")


@dataclass
class _Layer:
    norm_1: Tensor
    qkv: Projection
    out: Projection
    norm_2: Tensor
    gate_up: Projection
    down: Projection


class FusedBody:
    """Runs the sums of a Llama or Qwen2 body over a `SlotCache`."""

    def __init__(
        self,
        layers: Sequence[_Layer],
        norm: Tensor,
        frequencies: Tensor,
        heads: tuple[int, int],
        eps: float,
        longest: int,
        weights: WeightFormat,
    ) -> None:
        """`frequencies` (head_dim / 2,) of the rotation, `heads` of queries and of keys, `longest` positions."""
        self.weights = weights
        self.heads, self.groups = heads
        self.head_dim = 2 * len(frequencies)
        self.eps = eps
        self.layers = list(layers)
        self.norm = norm
        self.dtype = norm.dtype
        positions = torch.arange(longest, device=norm.device).float()
        angles = positions[:, None] * frequencies.float()
        self.cos, self.sin = angles.cos().to(self.dtype), angles.sin().to(self.dtype)
        quick = weights == "int8" and self.head_dim % LANES == 0 and all(one.out.bias is None for one in self.layers)
        self._step = self._one_position() if quick else None
        self.graphs = norm.device.type == "cuda"
        """Steps are recorded and replayed."""
        self._recorded: StepGraphs | None = None

    @classmethod
    def from_module(cls, body: nn.Module, config: OmniConfig, weights: WeightFormat = "plain") -> FusedBody:
        """Takes the weights of a `transformers` body."""
        if config.body["model_type"] not in FUSED_TYPES:
            raise ValueError(f"{config.body['model_type']} bodies cannot be fused, only {', '.join(FUSED_TYPES)}")
        fields: Any = body.config
        return cls(
            [cls._layer(layer, weights) for layer in body.layers],  # type: ignore
            body.norm.weight.detach(),  # type: ignore
            body.rotary_emb.inv_freq,  # type: ignore
            (int(fields.num_attention_heads), int(fields.num_key_value_heads)),
            float(fields.rms_norm_eps),
            int(fields.max_position_embeddings),
            weights,
        )

    @classmethod
    def from_gguf(cls, tensors: Mapping[str, GgufTensor], config: OmniConfig) -> FusedBody:
        """Takes a Llama's matrices as they stand in a GGUF file, under `LlamaModel`'s keys: nothing is unpacked."""
        fields = config.body
        heads = int(fields["num_attention_heads"])
        head_dim = int(fields.get("head_dim") or config.width // heads)

        def joined(layer: int, *names: str) -> Projection:
            parts = [tensors[f"layers.{layer}.{name}.weight"] for name in names]
            return Projection(BlockMatrix.from_gguf(parts[0].kind, np.concatenate([part.rows for part in parts])))

        def norm(key: str) -> Tensor:
            return torch.from_numpy(tensors[f"{key}.weight"].exact().copy())

        layers = [
            _Layer(
                norm(f"layers.{n}.input_layernorm"),
                joined(n, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
                joined(n, "self_attn.o_proj"),
                norm(f"layers.{n}.post_attention_layernorm"),
                joined(n, "mlp.gate_proj", "mlp.up_proj"),
                joined(n, "mlp.down_proj"),
            )
            for n in range(int(fields["num_hidden_layers"]))
        ]
        powers = torch.arange(0, head_dim, 2).float() / head_dim
        factors = torch.tensor(fields.get("rope_factors") or 1.0)
        return cls(
            layers,
            norm("norm"),
            1.0 / (float(fields["rope_theta"]) ** powers * factors),
            (heads, int(fields["num_key_value_heads"])),
            float(fields["rms_norm_eps"]),
            int(fields["max_position_embeddings"]),
            "int8",
        )

    @staticmethod
    def _layer(layer: Any, weights: WeightFormat) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        bias = None if parts[0].bias is None else torch.cat([part.bias for part in parts]).detach()
        return _Layer(
            layer.input_layernorm.weight.detach(),
            Projection(torch.cat([part.weight for part in parts]), bias, weights),
            Projection(attention.o_proj.weight, attention.o_proj.bias, weights),
            layer.post_attention_layernorm.weight.detach(),
            Projection(torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]), None, weights),
            Projection(mlp.down_proj.weight, None, weights),
        )

    def _one_position(self) -> BodyStep:
        biases = [layer.qkv.bias for layer in self.layers if layer.qkv.bias is not None]
        return BodyStep(
            [[part.blocks for part in (one.qkv, one.out, one.gate_up, one.down)] for one in self.layers],
            torch.stack([torch.stack([layer.norm_1, layer.norm_2]) for layer in self.layers]),
            torch.stack(biases) if biases else torch.zeros(len(self.layers), 0),
            self.norm,
            (self.cos, self.sin),
            (self.heads, self.groups),
            self.eps,
        )

    @property
    def cache_dtype(self) -> torch.dtype:
        """Of keys and values: reading them is what a late step waits for."""
        return self.dtype if self._step is None else torch.float16

    def __call__(self, x: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache) -> Tensor:
        """(n, steps, width) at `positions` (n, steps) of cache rows (n,) → normed hidden states."""
        if self._step is not None:
            return self._step(x, positions, rows, cache)
        if self.graphs and x.shape[1] == 1:
            if self._recorded is None or self._recorded.cache is not cache:
                self._recorded = StepGraphs(self._run, cache)
            return self._recorded(x, positions, rows)
        return self._run(x, positions, rows, cache)

    def _run(self, x: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache, length: int | None = None) -> Tensor:
        """Layer by layer; with `length`, of fixed shapes (see `SlotCache.select`)."""
        count, steps, _ = x.shape
        mask: Tensor | None = cache.select(rows, positions, length)
        if count == 1 and steps == 1 and length is None:
            mask = None  # everything up to here is seen
        elif steps > 1 and mask is not None:
            mask = mask.expand(-1, self.heads // self.groups, -1, -1).reshape(count, 1, -1, mask.shape[-1])
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]  # (n, 1, steps, head_dim / 2)
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(rms_norm(x, layer.norm_1, self.eps))
            qkv = qkv.view(count, steps, -1, self.head_dim).transpose(1, 2)
            rotated = self._rotate(qkv[:, : self.heads + self.groups], cos, sin)
            q, k = rotated[:, : self.heads], rotated[:, self.heads :]
            keys, values = cache.update(k, qkv[:, self.heads + self.groups :], index)
            q = q.reshape(count, self.groups, -1, self.head_dim)  # the heads of a group, one after another
            y = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            y = y.reshape(count, self.heads, steps, self.head_dim).transpose(1, 2).reshape(count, steps, -1)
            x = x + layer.out(y)
            gate, up = layer.gate_up(rms_norm(x, layer.norm_2, self.eps)).chunk(2, -1)
            x = x + layer.down(F.silu(gate) * up)
        return rms_norm(x, self.norm, self.eps)

    @staticmethod
    def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
