"""Attention blocks of the parts that are trained here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.packed import rms_norm


def rotate(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def norm_rows(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    return rms_norm(x, norm.weight, norm.eps or 0.0) if not norm.training else norm(x)


class AttentionBlock(nn.Module):
    """Pre-norm attention with rotary positions and SwiGLU."""

    frequencies: Tensor

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm_1 = nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_2 = nn.RMSNorm(width, eps=1e-5)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        steps = torch.arange(0, self.head_dim, 2) / self.head_dim
        self.register_buffer("frequencies", 1 / 1000.0**steps, persistent=False)

    def project(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, steps, width), positions (rows, steps) → q, k, v (rows, heads, steps, head_dim)."""
        q, k, v = (
            self.qkv(norm_rows(self.norm_1, x)).unflatten(-1, (3, self.heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        )
        angle = (positions[..., None].float() * self.frequencies)[:, None]
        return rotate(q, angle), rotate(k, angle), v

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(norm_rows(self.norm_2, x)).chunk(2, -1)
        out: Tensor = x + self.down(F.silu(gate) * up)
        return out
