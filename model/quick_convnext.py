"""`ConvStack` for serving: the same sums in one compiled call, weights in float16 where they are many."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model.convnext import ConvNeXt, ConvStack
from model.dense import dense, numbers, packed_layers, row_places
from model.vectors import ANY_ORDER, compiled, gelu


class QuickConvStack(nn.Module):
    """Takes the weights of a `ConvStack`; holds no parameters, and can neither be trained nor saved."""

    def __init__(self, stack: ConvStack) -> None:
        super().__init__()
        self.reach = stack.reach
        blocks = [block for block in stack.blocks if isinstance(block, ConvNeXt)]
        self._ups = packed_layers([block.up for block in blocks])
        self._downs = packed_layers([block.down for block in blocks])
        self._depthwise = np.stack([numbers(block.depthwise.weight)[:, 0].T for block in blocks])
        self._depthwise = np.ascontiguousarray(self._depthwise)  # (blocks, kernel, width)
        # of each block: bias of the depthwise convolution, weight and bias of the norm, scale
        self._small = np.stack(
            [
                np.stack([numbers(p) for p in (b.depthwise.bias, b.norm.weight, b.norm.bias, b.scale)])  # type: ignore[arg-type]
                for b in blocks
            ]
        )
        self._norm = np.stack([numbers(stack.norm.weight), numbers(stack.norm.bias)])
        self._eps = np.float32(stack.norm.eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(rows, time, width) float32, mask (rows, time, 1) → (rows, time, width)."""
        rows = []
        for row, seen in zip(x.float().contiguous().numpy(), mask.float().numpy(), strict=True):
            y = np.empty_like(row)
            seen = np.ascontiguousarray(seen[:, 0])
            _stack(row, seen, self._depthwise, self._small, self._ups, self._downs, self._norm, self._eps, y)
            rows.append(torch.from_numpy(y))
        return torch.stack(rows)


def pack_stacks(module: nn.Module) -> None:
    """Put a `QuickConvStack` in place of every `ConvStack` in `module`, which can no longer be trained or saved."""
    for name, child in module.named_children():
        if isinstance(child, ConvStack):
            setattr(module, name, QuickConvStack(child))
        else:
            pack_stacks(child)


@compiled()
def _stack(x, mask, depthwise, small, ups, downs, last_norm, eps, y):  # type: ignore[no-untyped-def]
    """x (time, width) through all blocks and the last norm → y."""
    steps, width = x.shape
    hidden = ups[1].shape[1]
    here, seen = np.empty((steps, width), np.float32), np.empty((steps, width), np.float32)
    wide, change = np.empty((steps, hidden), np.float32), np.empty((steps, downs[1].shape[1]), np.float32)
    scratch = np.empty(hidden, np.float32)
    rows, wide_rows = row_places(1, steps, 0, width, 0), row_places(1, steps, 0, hidden, 0)
    change_rows = row_places(1, steps, 0, change.shape[1], 0)
    for t in range(steps):
        for c in range(width):
            here[t, c] = x[t, c] * mask[t]
    for block in range(len(depthwise)):
        bias, norm, norm_bias, scale = small[block]
        for t in range(steps):
            _convolve(here, t, depthwise[block], bias, seen[t])
            _normalise(seen[t], norm, norm_bias, eps, seen[t])
        dense(seen.ravel(), rows, width, (ups[0][block], ups[1][block]), wide.ravel(), wide_rows)
        for t in range(steps):
            gelu(wide[t], scratch)
        dense(wide.ravel(), wide_rows, hidden, (downs[0][block], downs[1][block]), change.ravel(), change_rows)
        for t in range(steps):
            line, moved = here[t], change[t]
            for c in range(width):
                line[c] = (line[c] + scale[c] * moved[c]) * mask[t]
    for t in range(steps):
        _normalise(here[t], last_norm[0], last_norm[1], eps, y[t])


@compiled(fastmath=ANY_ORDER)
def _convolve(x, t, weight, bias, y):  # type: ignore[no-untyped-def]
    """The depthwise convolution at step t, zeros beyond the ends."""
    kernel = len(weight)
    for c in range(len(y)):
        y[c] = bias[c]
    for k in range(kernel):
        at = t + k - kernel // 2
        if 0 <= at < len(x):
            line, factors = x[at], weight[k]
            for c in range(len(y)):
                y[c] += factors[c] * line[c]


@compiled(fastmath=ANY_ORDER)
def _normalise(x, weight, bias, eps, y):  # type: ignore[no-untyped-def]
    """LayerNorm of one step; y may be x."""
    total = np.float32(0)
    for c in range(len(x)):
        total += x[c]
    mean, squares = total / np.float32(len(x)), np.float32(0)
    for c in range(len(x)):
        squares += (x[c] - mean) * (x[c] - mean)
    factor = np.float32(1) / np.sqrt(squares / np.float32(len(x)) + eps)
    for c in range(len(x)):
        y[c] = (x[c] - mean) * factor * weight[c] + bias[c]
