"""The TTS adapter: what is planned word by word, and decoded step by step, is what the whole text at once gives."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.quick_speech import QuickSpeechDecoder
from model.tts_adapter import TtsAdapter, TtsAdapterConfig, window_frames
from model.vocabulary import AUDIO_LAYERS, DELAY
from training.data.codes import Spoken
from training.tts_adapter import Batch, frame_states, losses

TEXTS = (
    "Hello there, how are you today? I am fine. Mr. Jones said so!",
    "Yes.",
    "A long sentence without an end that goes on, and on; until every letter of its look-ahead has been used up",
    "In 1984 it cost $3.50, or 20% less… See https://example.org now!",
)


@pytest.fixture(scope="module")
def adapter() -> TtsAdapter:
    torch.manual_seed(0)
    small = TtsAdapterConfig(
        spelling_width=32, spelling_blocks=2, width=32, hidden=48, phoneme_blocks=2, frame_blocks=2,
        decoder_blocks=2, heads=2, window=10, codes=32,
    )  # fmt: skip
    adapter = TtsAdapter(small).eval()
    with torch.no_grad():
        adapter.decoder.books.normal_()
        adapter.phoneme_encoder.durations.weight.mul_(8)
        adapter.spelling.heads.weight.mul_(8)
    return adapter


def planned(adapter: TtsAdapter, pieces: list[str]) -> tuple[torch.Tensor, int]:
    """All conditions of an answer whose text comes in pieces, asked for as soon as they are certain."""
    planner, conditions = adapter.planner(), []
    for piece in pieces:
        planner.feed(piece)
        while len(conditions) < planner.available:
            conditions.append(planner.condition(len(conditions)))
    planner.finish()
    while len(conditions) < planner.available:
        conditions.append(planner.condition(len(conditions)))
    assert planner.frames is not None
    assert planner.spoken_characters(planner.frames) == len("".join(pieces).rstrip())
    return torch.stack(conditions), planner.frames


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_made_letter_by_letter_equals_the_plan_of_the_whole_text(adapter: TtsAdapter, text: str) -> None:
    whole, frames = planned(adapter, [text])
    streamed, again = planned(adapter, list(text))
    assert frames == again
    assert len(whole) == frames + DELAY
    torch.testing.assert_close(whole, streamed, atol=2e-5, rtol=1e-4)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30))
@settings(max_examples=10, deadline=None)
def test_a_plan_does_not_depend_on_how_the_text_is_cut(adapter: TtsAdapter, cuts: list[int]) -> None:
    text, pieces, start = TEXTS[0], [], 0
    for cut in cuts:
        pieces.append(text[start : start + cut])
        start += cut
    pieces.append(text[start:])
    torch.testing.assert_close(planned(adapter, pieces)[0], planned(adapter, [text])[0], atol=2e-5, rtol=1e-4)


def test_the_plan_is_what_training_computes(adapter: TtsAdapter) -> None:
    planner = adapter.planner()
    planner.feed(TEXTS[0])
    planner.finish()
    conditions = []
    while len(conditions) < planner.available:
        conditions.append(planner.condition(len(conditions)))
    frames = planner.frames
    assert frames
    row = Spoken(
        "", np.array(planner._phonemes, np.uint8), np.array(planner._durations, np.int16),
        np.zeros((frames, AUDIO_LAYERS), np.int16),
    )  # fmt: skip
    short = Spoken(
        "", row.phonemes[:9], row.durations[:9], row.frames[: max(1, int(row.durations[:9].sum()) * 600 // 2048)]
    )
    with torch.no_grad():
        states, _ = frame_states(adapter, Batch([row, short], adapter.pad))
    torch.testing.assert_close(torch.stack(conditions), window_frames(states)[0], atol=2e-5, rtol=1e-4)


def test_text_without_a_sound_is_an_empty_answer(adapter: TtsAdapter) -> None:
    planner = adapter.planner()
    planner.feed(" * ")
    planner.finish()
    assert planner.frames == 0
    assert planner.available == 0


@pytest.mark.parametrize("quick", [False, True])
def test_steps_in_company_equal_the_whole_answer(adapter: TtsAdapter, quick: bool) -> None:
    steps = 37  # several times round the ring of the window
    adapter = TtsAdapter(replace(adapter.config, width=64, window=7)).eval() if quick else deepcopy(adapter)
    tolerance = {"atol": 4e-3, "rtol": 4e-3} if quick else {"atol": 1e-5, "rtol": 1e-4}  # keys are float16
    with torch.no_grad():
        adapter.decoder.books.normal_()
        for parameter in adapter.parameters():
            parameter.copy_(parameter.half())
    conditions = torch.randn(3, steps, adapter.condition_width)
    previous = torch.randint(0, adapter.pad + 1, (3, steps, AUDIO_LAYERS))
    cache = adapter.new_cache(5)
    slots = torch.tensor([4, 0, 2])
    starts = [0, 3, 11]
    out: list[list[torch.Tensor]] = [[], [], []]
    with torch.no_grad():
        whole = adapter.decoder(conditions, previous)
        if quick:
            adapter.decoder = QuickSpeechDecoder(adapter.decoder)  # type: ignore[assignment]
            cache = adapter.new_cache(5)
        for now in range(steps + max(starts)):
            rows = [r for r in range(3) if 0 <= now - starts[r] < steps]
            at = torch.tensor([now - starts[r] for r in rows])
            picked = torch.tensor(rows)
            logits = adapter.step(conditions[picked, at], previous[picked, at], at, slots[picked], cache)
            for row, line in zip(rows, logits, strict=True):
                out[row].append(line)
    for row in range(3):
        torch.testing.assert_close(torch.stack(out[row]), whole[row], **tolerance)


def test_training_lowers_the_loss(adapter: TtsAdapter) -> None:
    torch.manual_seed(1)
    trained = TtsAdapter(adapter.config)
    rng = np.random.default_rng(0)
    phonemes = np.array([0, *rng.integers(1, 60, 20), 0], np.uint8)
    durations = np.full(22, 4, np.int16)
    row = Spoken("", phonemes, durations, rng.integers(0, 32, (26, AUDIO_LAYERS)).astype(np.int16))
    batch = Batch([row, row], trained.pad)
    optimizer = torch.optim.Adam(trained.parameters(), 3e-3)
    first = losses(trained, batch).detach()
    for _ in range(60):
        optimizer.zero_grad()
        losses(trained, batch, noise=0.1).sum().backward()
        optimizer.step()
    assert (losses(trained, batch).detach() < 0.6 * first).all()
