"""The trained ear adapter hears without a decoder; with Whisper's reading its draft, it hears what Whisper hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.audio import log_mel, states_of
from model.checkpoint import EMBEDDED, OWN_EARS
from model.drafted_words import DraftedWords, DraftReader, hear_from_drafts
from model.ear_adapter import (
    EarAdapterConfig,
    EarNetwork,
    Spelled,
    SpelledWords,
    collapse,
    load_ear_adapter,
    save_ear_adapter,
)
from model.ears import Ears, Hearing, WhisperWords
from model.omni import MiniOmni
from model.transcriber import Transcriber
from training.voices import speak

QUESTION = "How do I get a coffee stain out of a white shirt?"
SMALL = EarAdapterConfig(states=16, width=24, hidden=32, heads=2, kernel=5, early=1, late=2)


@pytest.fixture(scope="module")
def ears() -> Ears:
    return Ears.open()


@pytest.fixture(scope="module")
def drafting() -> Ears:
    """With the trained ear adapter."""
    ears = Ears.open()
    hear_from_drafts(ears, load_ear_adapter(EMBEDDED / OWN_EARS))
    return ears


@pytest.fixture(scope="module")
def states(ears: Ears) -> Tensor:
    """Of the question, with a second of silence."""
    sound = speak("hibari", QUESTION)
    return ears.encoder(log_mel(sound, states_of(len(sound)) + 50))


@pytest.fixture
def whisper_words(ears: Ears) -> WhisperWords:
    assert isinstance(ears.adapter, WhisperWords)
    return ears.adapter


def test_repeats_are_one_and_blanks_are_none() -> None:
    signs = "ab "
    assert collapse([0, 1, 1, 0, 1, 2, 2, 3, 0, 3, 1, 0], signs) == "aab a"


def test_rows_of_a_batch_equal_rows_alone() -> None:
    torch.manual_seed(0)
    network = EarNetwork(SMALL).eval()
    x = torch.randn(2, 40, 16)
    mask = (torch.arange(20) < torch.tensor([[20], [12]])).float()[..., None]
    together = network(x, mask)
    alone = network(x[1:, :24], torch.ones(1, 12, 1))
    for joined, single in zip(together, alone, strict=True):
        torch.testing.assert_close(joined[1:, :24], single, rtol=1e-4, atol=1e-5)


def test_the_file_keeps_sizes_and_rounds_weights_little(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = EarNetwork(SMALL).eval()
    save_ear_adapter(network, tmp_path / "ears.safetensors")
    kept = load_ear_adapter(tmp_path / "ears.safetensors")
    assert kept.config == SMALL
    x, mask = torch.randn(1, 40, 16), torch.ones(1, 20, 1)
    for before, after in zip(network(x, mask), kept(x, mask), strict=True):
        assert float((before - after).detach().norm() / before.detach().norm()) < 0.03


def greedy(whisper_words: WhisperWords) -> Callable[[Tensor, int], tuple[int, ...]]:
    transcriber = Transcriber(whisper_words.transcriber.decoder, beams=1)
    return lambda states, limit: transcriber(states, limit).tokens


@pytest.mark.parametrize(
    "draft",
    [
        "",
        QUESTION,
        "How do I get a cofy stane out of white shirt",
        "Who do get get a coffee stain, out of the white shirts. And",
        "Entirely other words that are about as many as were really said",
    ],
)
def test_any_draft_leads_to_the_decoders_own_words(whisper_words: WhisperWords, states: Tensor, draft: str) -> None:
    said = DraftReader(whisper_words.transcriber)(states, draft, 60)
    assert said.tokens == greedy(whisper_words)(states, 60)
    assert said.complete
    assert -0.4 < said.average_log_probability < 0


def test_a_reading_that_goes_on_after_the_draft_is_cut_where_it_is_most_like_it(
    whisper_words: WhisperWords, states: Tensor
) -> None:
    """As where the decoder begins again: all that was said is in the draft."""
    reader = DraftReader(whisper_words.transcriber)
    said = reader(states, "How do I get", 60)
    assert said.text == "How do I get"
    assert said.complete
    assert reader.passes < 6


def test_a_last_word_that_the_draft_misspells_is_kept_where_the_decoder_begins_again(
    ears: Ears, whisper_words: WhisperWords
) -> None:
    sound = speak("hibari", "Please tell me a story about the sea.")
    states = ears.encoder(log_mel(sound, states_of(len(sound)) + 50))
    said = DraftReader(whisper_words.transcriber)(states, "Please tell me a story about the sy.", 60)
    assert said.text == "Please tell me a story about the sea."


def test_a_right_draft_is_read_in_one_pass(whisper_words: WhisperWords, states: Tensor) -> None:
    reader = DraftReader(whisper_words.transcriber)
    reader(states, QUESTION, 60)
    assert reader.passes == 1
    reader(states, QUESTION.replace("stain", "stane"), 60)
    assert 2 <= reader.passes <= 4
    reader(states, "", 60)
    assert reader.passes > 10


@pytest.mark.parametrize(("draft", "doubtful"), [(" And then we all went home again", True), ("", False)])
def test_a_reading_unlike_the_draft_is_doubtful(
    whisper_words: WhisperWords, states: Tensor, draft: str, doubtful: bool
) -> None:
    class Told(EarNetwork):
        def spell(self, states: Tensor) -> Spelled:
            return Spelled(QUESTION + draft, -0.1)

    heard = DraftedWords(Told(), whisper_words).hear(states, 3.0)
    assert heard.text == QUESTION
    assert heard.doubtful == doubtful


def test_a_reading_ends_at_the_limit(whisper_words: WhisperWords, states: Tensor) -> None:
    said = DraftReader(whisper_words.transcriber)(states, QUESTION, 5)
    assert len(said.tokens) <= 5
    assert not said.complete


def test_what_is_unsure_is_heard_again_as_before(ears: Ears, whisper_words: WhisperWords) -> None:
    sound = speak("flite", QUESTION, 2)
    before = ears.hear(sound)
    doubting = Ears(ears.encoder, ears.adapter)
    doubting.quick = DraftedWords(EarNetwork(), whisper_words, least_log_probability=0.0)
    assert doubting.hear(sound) == before


def test_noise_alone_is_not_answered(ears: Ears) -> None:
    drafted = Ears(ears.encoder, ears.adapter, replace(ears.options))
    hear_from_drafts(drafted, EarNetwork())
    noise = np.random.default_rng(0).normal(0, 0.01, 24_000).astype(np.float32)
    assert drafted.hear(noise).no_speech == ears.hear(noise).no_speech


def test_a_checkpoint_with_an_ear_adapter_hears_by_it_and_as_well(tmp_path: Path, ears: Ears) -> None:
    for part in EMBEDDED.iterdir():
        (tmp_path / part.name).symlink_to(part)
    (tmp_path / OWN_EARS).unlink(missing_ok=True)
    save_ear_adapter(EarNetwork(), tmp_path / OWN_EARS)  # untrained: its drafts are nonsense
    opened = MiniOmni.from_pretrained(tmp_path).ears
    assert isinstance(opened, Ears)
    assert isinstance(opened.quick, DraftedWords)
    sound = speak("hibari", QUESTION)
    assert opened.hear(sound).text == ears.hear(sound).text == QUESTION


def test_words_without_letters_are_not_heard() -> None:
    class Silent(EarNetwork):
        def spell(self, states: Tensor) -> Spelled:
            return Spelled("?", -0.1)

    heard = SpelledWords(Silent(SMALL)).hear(torch.zeros(8, 16), 0.2)
    assert heard.no_speech
    assert heard.text == ""


@pytest.mark.parametrize(
    ("text", "digits"),
    [("Nine one one.", "911"), ("Four eight three.", "483"), ("Five.", "5"), ("Eight.", "8"), ("Two.", "2")],
)
def test_digits_are_heard_once_and_by_the_first_reading(drafting: Ears, text: str, digits: str) -> None:
    hearing = drafting.hear(speak("hibari", text))
    assert "".join(filter(str.isalnum, hearing.text)) == digits
    assert hearing.draft is not None or text == "Two."  # no search: a word takes no longer than a sentence


def test_the_count_of_digits_is_the_drafts() -> None:
    words = DraftedWords.__new__(DraftedWords)
    words.least_likeness = 0.8
    doubted = Hearing("5559", no_speech=False, doubtful=True, draft="Five five nine.")
    assert words.settle(doubted, Hearing("5559", no_speech=False)).text == "559"
    assert words.settle(doubted, Hearing("559", no_speech=False)).text == "559"
    assert words.settle(replace(doubted, draft="Five nights"), Hearing("Five nights.", no_speech=False)).text == (
        "Five nights."
    )
