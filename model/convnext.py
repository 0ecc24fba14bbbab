"""ConvNeXt blocks over time, masked so that rows of a batch equal rows alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvNeXt(nn.Module):
    """ConvNeXt block over (batch, time, channels) that sees `kernel // 2` steps to either side."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`mask` (batch, time, 1) is 0 beyond a row's end, so that rows of a batch equal rows alone."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return (x + self.scale * self.down(F.gelu(self.up(self.norm(y))))) * mask


class ConvStack(nn.Module):
    """ConvNeXt blocks and a LayerNorm; `reach` steps of context to either side decide a step's output."""

    def __init__(self, blocks: int, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvNeXt(width, hidden, kernel) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.reach = blocks * (kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * mask
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x)
        return out
