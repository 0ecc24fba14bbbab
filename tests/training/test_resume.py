"""Training goes on from the committed checkpoint alone."""

from __future__ import annotations

from pathlib import Path

import torch

from model.checkpoint import EMBEDDED
from training.codec import load_codec
from training.listen import load_adapter
from training.resume import resume


def test_what_was_exported_is_what_training_goes_on_from(tmp_path: Path) -> None:
    resume(EMBEDDED, tmp_path)
    codec, step = load_codec(tmp_path / "mouth.pt")
    assert step == 3750
    sound = torch.randn(1, 4 * 2048, generator=torch.Generator().manual_seed(0)) * 0.1
    assert [book.shape[1] for book in codec.encode(sound)] == [4, 8, 16]
    adapter = load_adapter(tmp_path / "adapter.pt", tmp_path / "spelling.pt")
    books = torch.stack([quantizer.codebook.weight for quantizer in codec.mouth.quantizer.quantizers])
    torch.testing.assert_close(adapter.decoder.books, books)

    (tmp_path / "mouth.pt").write_bytes(b"mine")
    resume(EMBEDDED, tmp_path)
    assert (tmp_path / "mouth.pt").read_bytes() == b"mine"
