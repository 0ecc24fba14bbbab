"""The published decoder as a stream, on seeded weights of a small shape with the real strides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snac import SNAC

from model.request import InvalidRequest
from model.snac_mouth import SNAC_24KHZ, PublishedSnac


@pytest.fixture(scope="module")
def decoder() -> PublishedSnac:
    torch.manual_seed(0)
    snac = SNAC(**{**SNAC_24KHZ, "encoder_dim": 4, "decoder_dim": 64, "codebook_size": 64})
    return PublishedSnac(snac)


def codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 64, (count, 7), generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 16), st.lists(st.integers(0, 5), max_size=6), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_chunks_join_to_the_whole(decoder: PublishedSnac, count: int, sizes: list[int], seed: int) -> None:
    frames = codes(count, seed)
    whole = decoder.decode(frames).numpy()
    assert whole.shape == (count * 2048,)
    assert np.abs(whole).max() > 1e-3
    stream, pieces, start = decoder.stream(), [], 0
    for size in sizes:
        pieces.append(stream.push(frames[start : start + size]))
        start += size
    pieces += [stream.push(frames[start:]), stream.finish()]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)


def test_a_frame_is_spoken_once_its_context_is_there(decoder: PublishedSnac) -> None:
    stream = decoder.stream()
    spoken = [len(stream.push(codes(1, seed))) for seed in range(5)]
    assert spoken == [0, 0, 512, 2048, 2048]
    assert len(stream.finish()) == 5 * 2048 - sum(spoken)
    assert len(stream.finish()) == 0


def test_the_same_answer_sounds_the_same(decoder: PublishedSnac) -> None:
    assert torch.equal(decoder.decode(codes(4)), decoder.decode(codes(4)))


def test_context_is_needed_in_full(decoder: PublishedSnac) -> None:
    """The bound is tight: what lies within it is heard, what lies beyond is not."""
    frames = codes(12)
    changed = frames.clone()
    changed[6:] = codes(6, 9)
    far = (decoder.decode(frames) - decoder.decode(changed)).abs()
    assert float(far[: (24 - 11) * 512].max()) < 1e-6
    assert float(far[(24 - 9) * 512 : 24 * 512].max()) > 1e-6


def test_codes_outside_the_books_are_refused(decoder: PublishedSnac) -> None:
    with pytest.raises(InvalidRequest, match="wanted 0 to 63"):
        decoder.decode(torch.full((1, 7), 64))
