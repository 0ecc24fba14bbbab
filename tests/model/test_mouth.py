"""The mouth: streamed speech is whole speech, and frames are SNAC's three books."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.mouth import SAMPLES_PER_FRAME, Mouth, MouthConfig, MouthDecoder, books_to_frames, frames_to_books


@pytest.fixture(scope="module")
def decoder() -> MouthDecoder:
    torch.manual_seed(0)
    return MouthDecoder(Mouth(MouthConfig(latent=16, width=32, hidden=48, blocks=2, fine_blocks=2)))


def spoken(decoder: MouthDecoder, frames: torch.Tensor, sizes: list[int]) -> np.ndarray:
    stream, pieces, start = decoder.stream(), [], 0
    for size in sizes:
        pieces.append(stream.push(frames[start : start + size]))
        start += size
    return np.concatenate([*pieces, stream.push(frames[start:]), stream.finish()])


@given(st.integers(1, 24), st.lists(st.integers(0, 5), max_size=8), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_chunks_join_to_the_whole(decoder: MouthDecoder, count: int, sizes: list[int], seed: int) -> None:
    frames = torch.randint(0, 1024, (count, 7), generator=torch.Generator().manual_seed(seed))
    whole = decoder.decode(frames).numpy()
    assert whole.shape == (count * SAMPLES_PER_FRAME,)
    np.testing.assert_allclose(spoken(decoder, frames, sizes), whole, atol=1e-5)


def test_nothing_pushed_is_nothing_spoken(decoder: MouthDecoder) -> None:
    assert len(decoder.stream().finish()) == 0


def test_finish_owes_nothing_twice(decoder: MouthDecoder) -> None:
    stream = decoder.stream()
    stream.push(torch.zeros(1, 7, dtype=torch.long))
    assert len(stream.finish()) > 0
    assert len(stream.finish()) == 0


def test_a_batch_speaks_as_each_alone(decoder: MouthDecoder) -> None:
    frames = torch.randint(0, 1024, (3, 5, 7))
    together = decoder.mouth.decode(frames_to_books(frames)).detach()
    for row in range(3):
        torch.testing.assert_close(together[row], decoder.decode(frames[row]), atol=1e-5, rtol=1e-4)


def test_frames_name_the_books_as_snac_orders_them() -> None:
    frames = torch.arange(14).view(2, 7)
    first, second, third = frames_to_books(frames)
    assert first.tolist() == [0, 7]
    assert second.tolist() == [1, 4, 8, 11]
    assert third.tolist() == [2, 3, 5, 6, 9, 10, 12, 13]
    assert torch.equal(books_to_frames([first, second, third]), frames)
