"""Names and shapes of the published checkpoint's weights, and ours: a bijection, bit for bit.

The published file keeps q, k and v of a layer in one matrix, interleaved by group of key-value heads: for each group
its query heads, then its key head, then its value head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from model.config import OmniConfig

_LAYER = {
    "norm_1.weight": "input_layernorm.weight",
    "norm_2.weight": "post_attention_layernorm.weight",
    "attn.proj.weight": "self_attn.o_proj.weight",
    "mlp.fc_1.weight": "mlp.gate_proj.weight",
    "mlp.fc_2.weight": "mlp.up_proj.weight",
    "mlp.proj.weight": "mlp.down_proj.weight",
}
_WHOLE = {
    "transformer.wte.weight": "table.weight",
    "lm_head.weight": "head.weight",
    "transformer.ln_f.weight": "body.norm.weight",
    "whisper_adapter.fc_1.weight": "adapter.fc_1.weight",
    "whisper_adapter.fc_2.weight": "adapter.fc_2.weight",
    "whisper_adapter.proj.weight": "adapter.proj.weight",
}
_POST = {
    "transformer.post_adapter_audio_ln.weight": "post_adapter.body.norm.weight",
    "transformer.post_adapter_audio_lm_head.weight": "post_adapter.head.weight",
}


def _heads(config: OmniConfig) -> tuple[int, int, int]:
    heads = int(config.body["num_attention_heads"])
    groups = int(config.body["num_key_value_heads"])
    return heads, groups, config.width // heads


def split_qkv(fused: Tensor, config: OmniConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Fused (rows, …), interleaved by group → q, k, v."""
    heads, groups, size = _heads(config)
    by_group = fused.reshape(groups, heads // groups + 2, size, *fused.shape[1:])
    q, k, v = by_group.split([heads // groups, 1, 1], 1)
    return tuple(part.reshape(-1, *fused.shape[1:]).contiguous() for part in (q, k, v))  # type: ignore[return-value]


def join_qkv(q: Tensor, k: Tensor, v: Tensor, config: OmniConfig) -> Tensor:
    """The inverse of `split_qkv`."""
    _, groups, size = _heads(config)
    parts = [part.reshape(groups, -1, size, *part.shape[1:]) for part in (q, k, v)]
    return torch.cat(parts, 1).reshape(-1, *q.shape[1:]).contiguous()


def whole_names(config: OmniConfig) -> dict[str, str]:
    """Published key → ours, for everything outside the layers."""
    names = dict(_WHOLE)
    if config.tied:
        del names["lm_head.weight"]
    return {**names, **(_POST if config.post_adapter_layers else {})}


def layer_prefixes(config: OmniConfig) -> dict[str, str]:
    """Published prefix of each layer → ours."""
    count = int(config.body["num_hidden_layers"])
    prefixes = {f"transformer.h.{n}.": f"body.layers.{n}." for n in range(count)}
    for n in range(config.post_adapter_layers):
        prefixes[f"transformer.post_adapter.{n}."] = f"post_adapter.body.layers.{n}."
    return prefixes


def public_shapes(config: OmniConfig) -> dict[str, tuple[int, ...]]:
    """Every published key and the shape it must have."""
    heads, groups, size = _heads(config)
    width, hidden, vocabulary = config.width, int(config.body["intermediate_size"]), config.vocabulary
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (vocabulary.size, width),
        "lm_head.weight": (vocabulary.size, width),
        "transformer.ln_f.weight": (width,),
        "whisper_adapter.fc_1.weight": (hidden, config.ears_width),
        "whisper_adapter.fc_2.weight": (hidden, config.ears_width),
        "whisper_adapter.proj.weight": (width, hidden),
        "transformer.post_adapter_audio_ln.weight": (width,),
        "transformer.post_adapter_audio_lm_head.weight": (7 * vocabulary.layer_size, width),
    }
    shapes = {key: shapes[key] for key in whole_names(config)}
    fused = (heads + 2 * groups) * size
    for prefix in layer_prefixes(config):
        shapes |= {
            f"{prefix}norm_1.weight": (width,),
            f"{prefix}norm_2.weight": (width,),
            f"{prefix}attn.attn.weight": (fused, width),
            f"{prefix}attn.attn.bias": (fused,),
            f"{prefix}attn.proj.weight": (width, heads * size),
            f"{prefix}mlp.fc_1.weight": (hidden, width),
            f"{prefix}mlp.fc_2.weight": (hidden, width),
            f"{prefix}mlp.proj.weight": (width, hidden),
        }
        if not config.body.get("attention_bias", True):
            del shapes[f"{prefix}attn.attn.bias"]
    return shapes


def from_public(state: Mapping[str, Tensor], config: OmniConfig) -> dict[str, Tensor]:
    """A published state dict → ours. Keys and shapes must be those of `public_shapes`."""
    ours = {name: state[key] for key, name in whole_names(config).items()}
    for theirs, prefix in layer_prefixes(config).items():
        for key, name in _LAYER.items():
            ours[prefix + name] = state[theirs + key]
        for kind in ("weight", "bias"):
            if (fused := state.get(f"{theirs}attn.attn.{kind}")) is not None:
                for part, tensor in zip("qkv", split_qkv(fused, config), strict=True):
                    ours[f"{prefix}self_attn.{part}_proj.{kind}"] = tensor
    return ours


def to_public(state: Mapping[str, Tensor], config: OmniConfig) -> dict[str, Tensor]:
    """Our state dict → the published one; the inverse of `from_public`."""
    theirs = {key: state[name] for key, name in whole_names(config).items()}
    for prefix, ours in layer_prefixes(config).items():
        for key, name in _LAYER.items():
            theirs[prefix + key] = state[ours + name]
        for kind in ("weight", "bias"):
            if f"{ours}self_attn.q_proj.{kind}" in state:
                parts = [state[f"{ours}self_attn.{part}_proj.{kind}"] for part in "qkv"]
                theirs[f"{prefix}attn.attn.{kind}"] = join_qkv(parts[0], parts[1], parts[2], config)
    return theirs
