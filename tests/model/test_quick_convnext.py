"""The compiled stack of convolutions computes what PyTorch's modules do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from model.convnext import ConvStack
from model.quick_convnext import QuickConvStack, pack_stacks


def stack(blocks: int = 3, width: int = 64, hidden: int = 96, kernel: int = 7) -> ConvStack:
    """Weights that float16 holds, none of them where it begins."""
    torch.manual_seed(blocks)
    made = ConvStack(blocks, width, hidden, kernel).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_((parameter + 0.2 * torch.randn_like(parameter)).half())
    return made


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 40])
@pytest.mark.parametrize(("blocks", "width", "hidden", "kernel"), [(3, 64, 96, 7), (1, 32, 160, 3), (6, 192, 576, 7)])
def test_it_computes_what_the_modules_do(blocks: int, width: int, hidden: int, kernel: int, steps: int) -> None:
    plain = stack(blocks, width, hidden, kernel)
    x = 3 * torch.randn(2, steps, width)
    mask = torch.ones(2, steps, 1)
    mask[0, : steps // 3], mask[1, steps // 2 :] = 0, 0
    with torch.inference_mode():
        torch.testing.assert_close(QuickConvStack(plain)(x, mask), plain(x, mask), atol=2e-5, rtol=1e-5)


def test_steps_do_not_depend_on_how_many_there_are() -> None:
    quick, x = QuickConvStack(stack()), torch.randn(1, 60, 64)
    whole = quick(x, torch.ones(1, 60, 1))
    for first, last in ((0, 30), (7, 33), (20, 60)):
        part = quick(x[:, first:last], torch.ones(1, last - first, 1))
        begin, end = (first + quick.reach) * (first > 0), last - quick.reach * (last < 60)
        assert torch.equal(part[:, begin - first : end - first], whole[:, begin:end])


def test_every_stack_of_a_module_is_replaced() -> None:
    module = nn.ModuleDict({"a": stack(), "b": nn.ModuleList([nn.Linear(2, 2), stack(1)])})
    pack_stacks(module)
    assert not any(isinstance(part, ConvStack) for part in module.modules())
    assert sum(isinstance(part, QuickConvStack) for part in module.modules()) == 2
    assert [name for name, _ in module.named_parameters()] == ["b.0.weight", "b.0.bias"]
