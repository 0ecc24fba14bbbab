"""The eight streams: layer shift, delay, SNAC's books and the published prompts, for any sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.mouth import books_to_frames, frames_to_books
from model.vocabulary import AUDIO_LAYERS, DELAY, Task, Vocabulary, build_prompt, delay, undelay

SIZES = st.builds(
    Vocabulary,
    text=st.integers(1, 200_000),
    text_specials=st.integers(5, 64),
    codes=st.integers(1, 5000),
    code_specials=st.integers(5, 64),
)


def frames_of(count: int, codes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, codes, (count, AUDIO_LAYERS), generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 40), st.integers(0, 1000))
def test_delay_is_undone(count: int, seed: int) -> None:
    frames = frames_of(count, 4096, seed)
    steps = delay(frames, pad=4097)
    assert steps.shape == (count + DELAY, AUDIO_LAYERS)
    assert torch.equal(undelay(steps), frames)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_each_layer_comes_a_step_after_the_one_before(count: int, seed: int) -> None:
    frames = frames_of(count, 4096, seed)
    steps = delay(frames, pad=4097)
    for layer in range(AUDIO_LAYERS):
        real = slice(layer + 1, layer + 1 + count)
        assert torch.equal(steps[real, layer], frames[:, layer])
        rest = torch.ones(len(steps), dtype=torch.bool)
        rest[real] = False
        assert (steps[rest, layer] == 4097).all()


@given(st.integers(0, DELAY))
def test_no_frame_is_complete_before_the_eighth_step(steps: int) -> None:
    assert undelay(torch.zeros(steps, AUDIO_LAYERS, dtype=torch.long)).shape == (0, AUDIO_LAYERS)


@given(SIZES, st.integers(1, 30), st.integers(0, 1000))
def test_the_layer_shift_is_undone_and_layers_never_meet(sizes: Vocabulary, count: int, seed: int) -> None:
    codes = frames_of(count, sizes.layer_size, seed)
    rows = sizes.shift(codes)
    assert torch.equal(sizes.unshift(rows), codes)
    for layer in range(AUDIO_LAYERS):
        first = sizes.text_size + layer * sizes.layer_size
        assert ((rows[:, layer] >= first) & (rows[:, layer] < first + sizes.layer_size)).all()
    assert rows.max() < sizes.size


@given(st.integers(0, 30), st.integers(0, 1000))
def test_frames_and_books_are_the_same_codes(count: int, seed: int) -> None:
    frames = frames_of(count, 4096, seed)
    books = frames_to_books(frames)
    assert [len(book) for book in books] == [count, 2 * count, 4 * count]
    if count:
        assert torch.equal(books_to_frames(books), frames)


def test_the_published_ids() -> None:
    v = Vocabulary()
    assert (v.text_size, v.layer_size, v.size) == (152_000, 4160, 181_120)
    assert (v.end_of_text, v.pad_text, v.input_text, v.answer_text, v.transcribe_text) == (
        151_936, 151_937, 151_938, 151_939, 151_940,
    )  # fmt: skip
    assert (v.end_of_audio, v.pad_audio, v.input_audio, v.answer_audio) == (4096, 4097, 4098, 4099)


AUDIO = {"end": 4096, "pad": 4097, "input": 4098, "answer": 4099}
TEXT = {"end": 151_936, "pad": 151_937, "input": 151_938, "answer": 151_939, "asr": 151_940}


@pytest.mark.parametrize(
    ("task", "audio", "text"),
    [
        (Task.A1A2, "input pad pad pad end answer", "input pad pad pad end answer"),
        (Task.A1T2, "input pad pad pad end pad", "input pad pad pad end answer"),
        (Task.A1T1, "input pad pad pad end pad", "input pad pad pad end asr"),
        (Task.T1A2, "pad pad pad pad answer", "input 11 12 end answer"),
        (Task.T1T2, "pad pad pad pad pad", "input 11 12 end answer"),
    ],
)
def test_prompts_are_the_published_ones(task: Task, audio: str, text: str) -> None:
    v = Vocabulary()
    prompt = build_prompt(v, task, frames=3, text=None if task.hears else torch.tensor([11, 12]))
    layers = v.unshift(prompt.ids[:, :AUDIO_LAYERS])
    assert layers.tolist() == [[AUDIO[word]] * AUDIO_LAYERS for word in audio.split()]
    assert prompt.ids[:, -1].tolist() == [TEXT[w] if w in TEXT else int(w) for w in text.split()]
    assert prompt.features_at == (1 if task.hears else None)


def test_a_text_task_without_text_is_refused() -> None:
    with pytest.raises(ValueError, match="T1A2 needs text ids"):
        build_prompt(Vocabulary(), Task.T1A2)
