"""Quantised matrices: what comes in a GGUF format is kept exactly, and products are exact sums of integers."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from model.kernels.block_quantized import FORMATS, TILED_ROWS, BlockMatrix, group_of, tiled
from model.kernels.int_gemm import ACTIVATION_LIMIT, BLOCK
from model.kernels.processor import AMX, host_features

SCALES_AT = {"Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "Q4_K": (0, 2), "Q5_K": (0, 2)}
"""Where a block's float16 numbers stand, at other places than Q6_K's 208."""


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def raw_matrix(kind: str, outputs: int, inputs: int) -> tuple[np.ndarray, torch.Tensor]:
    """Any bytes that a GGUF file of this kind may hold, and the numbers that the `gguf` package reads in them."""
    as_kind = gguf.GGMLQuantizationType[kind]
    size, length = gguf.GGML_QUANT_SIZES[as_kind]
    draw = np.random.default_rng(outputs + inputs)
    raw = draw.integers(0, 256, (outputs, inputs // size, length), np.uint8)
    for at in SCALES_AT.get(kind, (208,)):
        halves = (0.02 * draw.standard_normal(raw.shape[:2])).astype(np.float16)
        raw[..., at : at + 2] = halves.view(np.uint8).reshape(*raw.shape[:2], 2)
    raw = raw.reshape(outputs, -1)
    return raw, torch.from_numpy(gguf.dequantize(raw, as_kind))


def published(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """What is left of a weight after a GGUF file of this kind."""
    as_kind = gguf.GGMLQuantizationType[kind]
    return torch.from_numpy(gguf.dequantize(gguf.quantize(weight.numpy(), as_kind), as_kind).reshape(weight.shape))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("outputs", [16, 50])
def test_a_matrix_of_a_gguf_file_is_kept_exactly(kind: str, outputs: int) -> None:
    raw, exact = raw_matrix(kind, outputs, 512)
    matrix = BlockMatrix.from_gguf(kind, raw)
    assert (matrix.outputs, matrix.inputs) == (outputs, 512)
    assert torch.equal(matrix.rows(torch.arange(outputs)), exact)
    asked = torch.tensor([[outputs - 1, 0], [7, 7]])
    assert torch.equal(matrix.rows(asked), exact[asked])


@pytest.mark.parametrize("kind", FORMATS)
def test_a_product_is_that_of_the_weights_and_the_rounded_inputs(kind: str) -> None:
    raw, exact = raw_matrix(kind, 48, 512)
    x = seeded(9, 512)
    units = x.unflatten(1, (-1, BLOCK)).abs().amax(-1, keepdim=True) / ACTIVATION_LIMIT
    rounded = ((x.unflatten(1, (-1, BLOCK)) / units).round() * units).flatten(1)
    wanted = rounded.double() @ exact.double().T
    largest = (rounded.double().abs() @ exact.double().abs().T).max()
    found = BlockMatrix.from_gguf(kind, raw)(x).double()
    assert (found - wanted).abs().max() <= 2e-6 * largest


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="IQ4_NL matrices are not kept as they are"):
        BlockMatrix.from_gguf("IQ4_NL", np.zeros((16, 18), np.uint8))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_packed_matrix_is_opened_over_its_bytes(kind: str) -> None:
    raw, _ = raw_matrix(kind, 48, 256)
    matrix = BlockMatrix.from_gguf(kind, raw)
    kept = matrix.data.copy()
    kept.flags.writeable = False  # as a mapped file is
    opened = BlockMatrix.over(kept, *(int(part) for part in matrix.shape))
    x = seeded(3, 256)
    assert torch.equal(opened(x), matrix(x))
    with pytest.raises(ValueError, match=f"takes {len(kept)} bytes, not {len(kept) - 64}"):
        BlockMatrix.over(kept[64:], *(int(part) for part in matrix.shape))


@pytest.mark.parametrize(("kind", "bits"), [("Q4_1", 4), ("Q8_0", 8)])
@pytest.mark.parametrize("outputs", [16, 50])
def test_numbers_that_came_from_blocks_are_found_to_fit_them(kind: str, bits: int, outputs: int) -> None:
    weight = published(seeded(outputs, 96), kind)
    packed = BlockMatrix(weight)
    assert packed.bits == bits
    assert torch.equal(packed.rows(torch.arange(outputs)), weight)
    assert packed.nbytes == -(-outputs // 16) * 16 * 96 * (bits / 8 + 4 / BLOCK)


def test_blocks_of_one_value_are_kept() -> None:
    weight = torch.zeros(16, 64)
    weight[3], weight[4, :32], weight[5, 40] = 0.25, -2.0, 7.5
    assert torch.equal(BlockMatrix(weight).rows(torch.tensor([[3, 4], [5, 0]])), weight[torch.tensor([[3, 4], [5, 0]])])


@pytest.mark.parametrize("scale", [1e-4, 1.0, 300.0])
def test_any_other_matrix_is_rounded_to_eight_bits(scale: float) -> None:
    weight = seeded(40, 64) * scale
    packed = BlockMatrix(weight)
    spread = weight.unflatten(1, (-1, BLOCK))
    step = (spread.amax(-1) - spread.amin(-1)) / 255
    error = (packed.rows(torch.arange(40)) - weight).abs().unflatten(1, (-1, BLOCK)).amax(-1)
    assert packed.bits == 8
    held = 1e-3 * spread.abs().amax(-1) / 255 + 6e-8  # float16 holds the base, and no step below 6e-8
    assert (error <= 0.5 * step + held).all()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 33, 97])
@pytest.mark.parametrize(("outputs", "inputs", "kind"), [(48, 64, "Q4_1"), (50, 96, "Q8_0"), (33, 70, None)])
def test_products_are_those_of_the_weights_that_it_holds(
    outputs: int, inputs: int, kind: str | None, rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.kernels.block_quantized.THREADED_BYTES", 0)
    weight = seeded(outputs, inputs) if kind is None else published(seeded(outputs, inputs), kind)
    packed = BlockMatrix(weight)
    x = seeded(2 * rows, inputs).view(2, rows, inputs)[:, : max(1, rows // 2)]  # not contiguous
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = packed(x)
    finally:
        torch.set_num_threads(before)
    weights = packed.rows(torch.arange(outputs)).double()
    blocks = torch.nn.functional.pad(x.double(), (0, -inputs % BLOCK)).unflatten(-1, (-1, BLOCK))
    half = (blocks.abs().amax(-1, keepdim=True) / (2 * ACTIVATION_LIMIT)).expand_as(blocks).flatten(-2)[..., :inputs]
    allowed = half @ weights.abs().T * 1.001 + 2e-5  # every input is off by half a unit of its block at most
    assert ((found.double() - x.double() @ weights.T).abs() <= allowed).all()


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_inputs_that_16_bits_hold_lose_nothing(kind: str) -> None:
    packed = BlockMatrix(published(seeded(48, 96), kind))
    limit = ACTIVATION_LIMIT
    x = torch.randint(-limit, limit + 1, (9, 96), generator=torch.Generator().manual_seed(3)).float()
    x[:, ::BLOCK] = limit
    wanted = x.double() @ packed.rows(torch.arange(48)).double().T
    torch.testing.assert_close(packed(x).double(), wanted, atol=0.5, rtol=2e-6)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_row_gives_the_same_in_any_batch(kind: str) -> None:
    packed = BlockMatrix.from_gguf(kind, raw_matrix(kind, 48, 256)[0])
    x = seeded(59, 256)
    together = packed(x)
    for rows in (1, 2, 3, 5, 8, 15, 24, 37):
        for first in range(0, 59 - rows, rows):
            assert torch.equal(packed(x[first : first + rows]), together[first : first + rows])


@pytest.mark.parametrize("rows", [*range(1, 22), 24, 33, 43])
def test_every_row_is_in_one_group(rows: int) -> None:
    groups = [group_of(row, rows) for row in range(rows)]
    assert all(begin <= row < begin + size for row, (begin, size) in enumerate(groups))
    assert sorted({(begin, size) for begin, size in groups}) == list(dict.fromkeys(groups))
    assert sum(size for _, size in set(groups)) == rows
    assert {size for _, size in groups} <= (set(range(1, 17)) if tiled(rows) else {1, 2, 4, 8})


def test_amx_is_used_where_the_processor_has_it() -> None:
    features = platform.machine() == "x86_64" and host_features()
    if not features or not (features.get("amx-int8") and features.get("avx512vnni")):
        pytest.skip("this processor has no AMX")
    assert AMX
    assert group_of(0, 2 * TILED_ROWS) == (0, 16)
    assert group_of(0, TILED_ROWS - 1) == (0, 8)


def test_processors_without_the_newest_instructions_compute_the_same(tmp_path: Path) -> None:
    """Integers have one sum: a product is the same to the bit on AVX2, AVX-512, VNNI and AMX."""
    if platform.machine() not in ("x86_64", "AMD64") or not host_features().get("avx2"):
        pytest.skip("the older instructions are those of x86 processors")
    matrices = []
    for kind in FORMATS:
        raw, _ = raw_matrix(kind, 48, 256)
        np.save(tmp_path / f"{kind}.npy", raw)
        matrices.append(kind)
    program = (
        "import sys, numpy, torch; from model.kernels.block_quantized import BlockMatrix; torch.manual_seed(5); "
        "xs = [torch.randn(11, 256), torch.randn(43, 256)]; folder = sys.argv[2]; "
        "made = [BlockMatrix.from_gguf(k, numpy.load(f'{folder}/{k}.npy')) for k in sys.argv[3:]]; "
        "torch.save([m(x) for x in xs for m in [*made, BlockMatrix(torch.randn(48, 256))]], sys.argv[1])"
    )
    without_amx = ",".join(f"+{name}" for name, has in host_features().items() if has and not name.startswith("amx"))
    settings: list[dict[str, str]] = [
        {},
        {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+avx"},
        {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": without_amx},
    ]
    found = []
    for number, older in enumerate(settings):
        environment = {**os.environ, **older, "NUMBA_CACHE_DIR": str(tmp_path)}
        path = tmp_path / f"{number}.pt"
        command = [sys.executable, "-c", program, str(path), str(tmp_path), *matrices]
        subprocess.run(command, env=environment, check=True, timeout=300)
        found.append(torch.load(path))
    for products in zip(*found, strict=True):
        assert all(torch.equal(products[0], other) for other in products[1:])


def test_what_is_not_a_number_stays_so() -> None:
    weight = published(seeded(32, 64), "Q4_1")
    x = seeded(5, 64)
    x[3, 7] = torch.nan
    for rows in (x, x[3:4]):
        found = BlockMatrix(weight)(rows).isnan().all(-1)
        assert torch.equal(found, rows.isnan().any(-1))
