"""Matrices in blocks of whole numbers: nothing is lost of those that were published so, and products are exact sums."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from model.blocks import BLOCK, BlockMatrix
from model.config import OmniConfig
from model.network import OmniNetwork
from model.vectors import broadcast, compiled, exponential, host_features, store, writable
from model.vocabulary import Vocabulary


def seeded(outputs: int, inputs: int) -> torch.Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs + inputs))


def published(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """What is left of a weight after a GGUF file of this kind."""
    as_kind = gguf.GGMLQuantizationType[kind]
    return torch.from_numpy(gguf.dequantize(gguf.quantize(weight.numpy(), as_kind), as_kind).reshape(weight.shape))


@pytest.mark.parametrize(("kind", "bits"), [("Q4_1", 4), ("Q8_0", 8)])
@pytest.mark.parametrize("outputs", [16, 50])
def test_nothing_is_lost_of_a_matrix_that_was_published_in_blocks(kind: str, bits: int, outputs: int) -> None:
    weight = published(seeded(outputs, 96), kind)
    packed = BlockMatrix(weight)
    assert packed.bits == bits
    assert torch.equal(packed.rows(torch.arange(outputs)), weight)
    assert packed.nbytes == -(-outputs // 16) * 16 * 96 * (bits / 8 + 4 / BLOCK)


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_a_matrix_is_taken_from_a_file_as_it_is_found(kind: str) -> None:
    as_kind = gguf.GGMLQuantizationType[kind]
    raw = gguf.quantize(seeded(32, 96).numpy(), as_kind)
    taken, found = BlockMatrix.from_gguf(kind, raw), BlockMatrix(torch.from_numpy(gguf.dequantize(raw, as_kind)))
    assert (taken.bits, taken.outputs, taken.inputs) == (found.bits, 32, 96)
    for name in ("words", "steps", "bases"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(found, name))


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="Q5_0"):
        BlockMatrix.from_gguf("Q5_0", np.zeros((16, 22), np.uint8))


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
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 33])
@pytest.mark.parametrize(("outputs", "inputs", "kind"), [(48, 64, "Q4_1"), (50, 96, "Q8_0"), (33, 70, None)])
def test_products_are_those_of_the_weights_that_it_holds(
    outputs: int, inputs: int, kind: str | None, rows: int, threads: int
) -> None:
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
    half = (blocks.abs().amax(-1, keepdim=True) / 65534).expand_as(blocks).flatten(-2)[..., :inputs]
    allowed = half @ weights.abs().T * 1.001 + 2e-5  # every input is off by half a unit of its block at most
    assert ((found.double() - x.double() @ weights.T).abs() <= allowed).all()


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_inputs_that_16_bits_hold_lose_nothing(kind: str) -> None:
    packed = BlockMatrix(published(seeded(48, 96), kind))
    x = torch.randint(-32767, 32768, (9, 96), generator=torch.Generator().manual_seed(3)).float()
    x[:, ::BLOCK] = 32767
    wanted = x.double() @ packed.rows(torch.arange(48)).double().T
    torch.testing.assert_close(packed(x).double(), wanted, atol=0.5, rtol=2e-6)


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0"])
def test_a_row_gives_the_same_in_any_company(kind: str) -> None:
    packed = BlockMatrix(published(seeded(48, 96), kind))
    x = seeded(19, 96)
    together = packed(x)
    for rows in (1, 2, 3, 5, 8, 15):
        for first in range(0, 19 - rows, rows):
            assert torch.equal(packed(x[first : first + rows]), together[first : first + rows])


def test_processors_without_the_newest_instructions_compute_the_same(tmp_path: Path) -> None:
    """Whole numbers have one sum: a product is the same to the bit on AVX2, AVX-512 and VNNI."""
    if platform.machine() not in ("x86_64", "AMD64") or not host_features().get("avx2"):
        pytest.skip("the older instructions are those of x86 processors")
    program = (
        "import sys, torch; from model.blocks import BlockMatrix; torch.manual_seed(5); weight = torch.randn(48, 96); "
        "torch.save([BlockMatrix(w)(torch.randn(11, 96)) for w in (weight, (weight * 3).round() / 4)], sys.argv[1])"
    )
    found = []
    for number, older in enumerate(({}, {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma,+f16c,+avx"})):
        environment = {**os.environ, **older, "NUMBA_CACHE_DIR": str(tmp_path)}
        path = tmp_path / f"{number}.pt"
        subprocess.run([sys.executable, "-c", program, path], env=environment, check=True, timeout=300)
        found.append(torch.load(path))
    for new, old in zip(*found, strict=True):
        assert torch.equal(new, old)


def test_the_exponential_is_a_float32exponential() -> None:
    x = np.concatenate([np.linspace(-87, 88, 4001), np.linspace(-1, 1, 2001)]).astype(np.float32)
    found = np.array([exponential(one) for one in x])
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=3e-7)
    assert exponential(np.float32(-1000)) < 1e-37


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("family", "width", "heads", "groups"), [("llama", 72, 4, 2), ("qwen2", 96, 3, 3)])
def test_a_step_of_the_whole_body_is_what_its_layers_compute(
    family: str, width: int, heads: int, groups: int, biased: bool
) -> None:
    torch.manual_seed(0)
    fields = {
        "model_type": family, "hidden_size": width, "intermediate_size": 104, "num_hidden_layers": 3,
        "num_attention_heads": heads, "num_key_value_heads": groups, "head_dim": 32, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
    }  # fmt: skip
    config = OmniConfig(
        body=fields,
        audio_route="tts_adapter",
        vocabulary=Vocabulary(text=64, text_specials=0, codes=0, code_specials=0),
        tied=True,
    )
    network = OmniNetwork(config).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter) if biased else torch.nn.init.zeros_(parameter)
        elif "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    network.fuse("int8")
    fused = network._fused
    assert fused is not None
    step, outputs, kept = fused._step, [], []
    assert step is not None
    with torch.inference_mode():
        for quick in (step, None):  # prompts of 1 to 30 positions and a step of three rows by both
            fused._step = quick
            cache = network.new_cache(5, 40)
            slots, lengths = torch.tensor([4, 0, 2]), (9, 1, 30)
            ids = torch.randint(0, 64, (3, 31), generator=torch.Generator().manual_seed(1))
            for slot, row, length in zip(slots, ids, lengths, strict=True):
                network(network.embed(row[None, :length]), torch.arange(length)[None], slot[None], cache)
            places = torch.tensor(lengths)
            following = network.embed(ids[torch.arange(3), places])
            outputs.append(network(following[:, None], places[:, None], slots, cache))
            kept.append(torch.stack([cache.all_keys, cache.all_values]).float())
            with pytest.raises(ValueError, match="window of 40"):
                network(network.embed(ids[:1, :1]), torch.tensor([[40]]), slots[:1], cache)
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(kept[0], kept[1], atol=1e-4, rtol=1e-3)


def test_what_cannot_be_kept_on_disk_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    real = numba.njit

    def nowhere(*function: object, **options: object) -> object:
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*function, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @compiled()
    def fill(y):  # type: ignore[no-untyped-def]
        store(y, 0, broadcast(np.float32(3)))

    y = np.zeros(16, np.float32)
    fill(y)
    assert (y == 3).all()


def test_what_was_compiled_is_used_from_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "compiled-abc"
    assert writable(folder) == folder  # Numba makes it
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "function.nbi").write_bytes(b"index")
    assert writable(folder) == folder
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    copy = writable(folder)
    assert copy.name == folder.name
    assert copy != folder
    assert (copy / "inner" / "function.nbi").read_bytes() == b"index"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert writable(folder) == folder


def test_what_is_not_a_number_stays_so() -> None:
    weight = published(seeded(32, 64), "Q4_1")
    x = seeded(5, 64)
    x[3, 7] = torch.nan
    for rows in (x, x[3:4]):
        found = BlockMatrix(weight)(rows).isnan().all(-1)
        assert torch.equal(found, rows.isnan().any(-1))
