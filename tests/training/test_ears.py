"""Questions of many voices are made, kept, and learned from."""

from __future__ import annotations

import random
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from model.ear_adapter import SIGNS, EarAdapterConfig, EarNetwork
from training.data.question_texts import Questions, plain
from training.data.question_voices import Voices, microphone
from training.data.questions import STATES_STEP, Utterance, read_utterances, utterances, write_utterances
from training.ear_adapter import Utterances, classes_of, collate, letters_of, losses
from training.voices import TEXTS, UNHEARD, speak_as

TEXTS_FILE = Path(__file__).parents[2] / "training" / "texts.jsonl"


def test_questions_are_varied_and_leave_out_what_is_measured() -> None:
    questions = Questions(TEXTS_FILE, random.Random(0))
    drawn = [questions() for _ in range(800)]
    assert len(set(drawn)) > 600
    assert not {plain(text) for text in drawn} & {plain(text) for text in TEXTS}
    assert all(re.fullmatch(r"[A-Za-zÀ-ÿ' ,.?!;:]+", text) for text in drawn)
    assert len({word for text in drawn for word in plain(text).split()}) > 1500


def test_a_voice_is_drawn_anew_each_time_and_a_room_too() -> None:
    rng = np.random.default_rng(3)
    voices = Voices(rng)
    sounds = [microphone(voices("Where are my shoes?"), rng) for _ in range(6)]
    assert all(8_000 < len(sound) < 80_000 and np.isfinite(sound).all() for sound in sounds)
    assert all(float(np.abs(sound).max()) <= 1 for sound in sounds)
    assert len({len(sound) for sound in sounds}) == 6


@pytest.mark.parametrize("voice", ["flite rms", "espeak-ng en-us+max"])
def test_unheard_voices_speak(voice: str) -> None:
    assert voice in UNHEARD
    assert len(speak_as(voice, "Hello there.")) > 8_000


def test_utterances_are_kept_as_they_were_made(tmp_path: Path) -> None:
    made = list(islice(utterances(TEXTS_FILE, seed=5), 2))
    write_utterances(tmp_path / "train-0-00000.npz", made)
    kept = read_utterances(tmp_path / "train-0-00000.npz")
    for before, after in zip(made, kept, strict=True):
        assert before.text == after.text
        assert len(after.states) % STATES_STEP == 0
        np.testing.assert_array_equal(before.states, after.states)


def spelled_states(text: str, rng: np.random.Generator) -> Utterance:
    """States that show each letter for 60 ms."""
    classes = np.repeat(classes_of(letters_of(text), SIGNS).numpy(), 3)
    states = np.eye(64, dtype=np.float16)[np.pad(classes, (4, -len(classes) % 4 + 4))]
    return Utterance(text, states + rng.normal(0, 0.05, states.shape).astype(np.float16))


def test_the_network_learns_to_spell(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rng, questions = np.random.default_rng(0), Questions(TEXTS_FILE, random.Random(0))
    write_utterances(tmp_path / "train-0-00000.npz", [spelled_states(questions(), rng) for _ in range(60)])
    rows = Utterances(tmp_path, states_a_batch=1500)
    network = EarNetwork(EarAdapterConfig(states=64, width=48, heads=4, hidden=64, kernel=5, early=1, late=1))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    told = []
    for batch in islice(rows, 160):
        loss = losses(network, batch).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told.append(float(loss.detach()))
    assert np.mean(told[-5:]) < 0.4 * told[0]
    assert rows.uses.max() - rows.uses.min() <= 2


def test_a_batch_is_padded_and_spelled_in_classes() -> None:
    rng = np.random.default_rng(0)
    batch = collate([spelled_states("Who?", rng), spelled_states("Where is it?", rng)])
    assert batch.states.shape[1] == int(batch.lengths.max())
    assert "".join(SIGNS[c - 1] for c in batch.signs[1].tolist()) == "Where is it?"
