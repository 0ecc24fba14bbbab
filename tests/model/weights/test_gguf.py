"""GGUF files: read as they are, whole and in parts, and told apart from what is broken."""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from model.weights.errors import WeightsError
from model.weights.gguf import KINDS, GgufFile
from tests.model.weights.gguf_files import cut

WORDS = [*(f"word{index}" for index in range(300)), "", "ümläut"]
WRITTEN = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
"""Kinds that the reference writer can make of numbers; blocks of the others are drawn."""


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A file by the reference writer with a tensor of every kind, and the numbers in them as the reference has them."""
    path, random, exact = tmp_path / "small.gguf", np.random.default_rng(0), {}
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_token_list(WORDS)
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_array("some.flags", [True, False])
    writer.add_float32("a.number", 0.5)
    writer.add_bool("a.flag", True)
    writer.add_string("a.string", "grüße")
    for kind in KINDS:
        number = gguf.GGMLQuantizationType[kind]
        numbers = random.standard_normal((4, 512)).astype(np.float32)
        if kind in WRITTEN:
            packed = gguf.quantize(numbers, number)
        else:  # every byte is a possible weight; the steps, float16 at either end of a block, are made small numbers
            block, size = gguf.GGML_QUANT_SIZES[number]
            blocks = random.integers(0, 256, (4 * 512 // block, size), np.uint8)
            steps = random.random((len(blocks), 2)).astype(np.float16).view(np.uint8)
            blocks[:, -2:], blocks[:, :4] = steps[:, :2], (blocks[:, :4] if kind == "Q6_K" else steps)
            packed = blocks.reshape(4, -1)
        writer.add_tensor(f"matrix.{kind}", packed, raw_dtype=number)
        exact[f"matrix.{kind}"] = gguf.dequantize(packed, number)
    exact["vector"] = random.standard_normal(7).astype(np.float32)
    writer.add_tensor("vector", exact["vector"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, exact


def check(file: GgufFile, exact: dict[str, np.ndarray]) -> None:
    assert file.architecture == "llama"
    assert file.metadata["tokenizer.ggml.tokens"] == WORDS
    assert file.metadata["some.numbers"] == [1, 2, 3]
    assert file.metadata["some.flags"] == [True, False]
    assert (file.metadata["a.number"], file.metadata["a.flag"], file.metadata["a.string"]) == (0.5, True, "grüße")
    assert file.tensors.keys() == exact.keys()
    for name, numbers in exact.items():
        tensor = file.tensors[name]
        assert name in ("vector", f"matrix.{tensor.kind}")
        assert tensor.shape == numbers.shape
        assert np.isfinite(numbers).all()
        np.testing.assert_array_equal(tensor.exact(), numbers)


def test_a_file_is_read_as_it_stands(written: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, exact = written
    file = GgufFile([path])
    check(file, exact)
    block = file.tensors["matrix.Q8_0"].rows
    assert isinstance(block.base, np.ndarray) or not block.flags.owndata, "a view of the file"


@pytest.mark.parametrize("sizes", [(1,), (30, 2000), (700, 701, 3000), (9001,), (5000, 1, 1, 1)])
def test_parts_are_read_as_the_file(written: tuple[Path, dict[str, np.ndarray]], sizes: tuple[int, ...]) -> None:
    path, exact = written
    check(GgufFile(cut(path, *sizes)), exact)


@pytest.mark.parametrize("kept", [1, 3, 12, 40, 200, 2000, 5000, -200])
def test_a_file_that_ends_early_is_refused(written: tuple[Path, dict[str, np.ndarray]], kept: int) -> None:
    path = written[0]
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"small.gguf (ends early, at byte \d+; fetch it again|is not a GGUF file)"):
        assert GgufFile([path]).tensors


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    for content, message in (
        (b"PK\3\4" + bytes(100), "is not a GGUF file"),
        (b"", "cannot be read"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 99), "no type 99"),
        (b"GGUF" + struct.pack("<IQQQ1s", 3, 0, 1, 1, b"\xff"), "not UTF-8"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60), "ends early"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"a", 9, 8, 2**60), "ends early"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            GgufFile([path])
    with pytest.raises(WeightsError, match="cannot be read"):
        GgufFile([tmp_path / "missing.gguf"])


def test_a_number_format_that_is_not_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor("blocks", np.zeros((4, 136), np.uint8), raw_dtype=gguf.GGMLQuantizationType.IQ4_XS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(WeightsError, match="the tensor blocks is IQ4_XS; F32, F16"):
        assert GgufFile([path]).tensors
