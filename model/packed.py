"""Matrices in the form that this machine multiplies quickest, and the small sums around them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.kernels.block_quantized import BlockMatrix

WeightFormat = Literal["plain", "int8", "float16"]
"""How a matrix is held for its products.

- plain: as it is.
- int8: integers of 8 bits in blocks, or of the 4 to 8 that they were published in, against activations of 16 bits
  (`model.kernels.block_quantized`): a third to a sixth of float32's bytes, and nothing lost of weights that come so.
- float16: packed for FBGEMM, read against float32 activations: half the bytes of float32 and its results (on CPUs with
  AVX2 a step takes half the time of float32, and eight rows hardly longer than one).
"""


def quick_dtype(device: torch.device | str = "cpu") -> torch.dtype:
    """bfloat16 where matrix products in it are fast, float32 elsewhere (there they can be a hundred times slower)."""
    if torch.device(device).type == "cuda":
        return torch.bfloat16
    found = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")) else torch.float32


class Projection:
    """A linear layer's weights in the form that is multiplied quickest."""

    def __init__(
        self, weight: Tensor | BlockMatrix, bias: Tensor | None = None, weights: WeightFormat = "plain"
    ) -> None:
        """A packed `weight` is taken as it is."""
        self.bias = bias
        if weights == "int8" or isinstance(weight, BlockMatrix):
            self.blocks = weight if isinstance(weight, BlockMatrix) else BlockMatrix(weight)
            self.nbytes = self.blocks.nbytes
            self._multiply = self._multiply_blocks
        elif weights == "float16":
            # what it rounds to, said openly: FBGEMM warns of it else
            kept = weight.detach().cpu().contiguous().half().float()
            self._packed = torch.ops.quantized.linear_prepack_fp16(kept, None)
            self.nbytes = 2 * weight.numel()
            self._multiply = self._multiply_float16
        else:
            self._weight = weight.detach().contiguous()
            self.nbytes = self._weight.nbytes
            self._multiply = self._multiply_plain

    def __call__(self, x: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        return self._multiply(x)

    def _multiply_plain(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self.bias)

    def _multiply_float16(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.quantized.linear_dynamic_fp16(x, self._packed)
        return y if self.bias is None else y + self.bias

    def _multiply_blocks(self, x: Tensor) -> Tensor:
        y = self.blocks(x.float()).to(x.dtype)
        return y if self.bias is None else y + self.bias


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root-mean-square norm over the last dimension, in float32: for one row a quarter of `F.rms_norm`'s time."""
    wide = x.float()
    normed = wide * (wide * wide).sum(-1, keepdim=True).mul_(1 / x.shape[-1]).add_(eps).rsqrt_()
    return normed.to(x.dtype) * weight


class PackedLinear(nn.Module):
    """`nn.Linear` for serving only, its weights packed."""

    def __init__(self, linear: nn.Linear, weights: WeightFormat) -> None:
        super().__init__()
        bias = None if linear.bias is None else linear.bias.detach()
        self.projection = Projection(linear.weight, bias, weights)

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) → (…, outputs)."""
        return self.projection(x)


def pack_linears(module: nn.Module, weights: WeightFormat) -> None:
    """Pack every `nn.Linear` in `module`, which can no longer be trained or saved."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child, weights))
        else:
            pack_linears(child, weights)
