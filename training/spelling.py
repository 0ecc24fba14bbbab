"""Teaches the TTS adapter to spell: letters of a sentence → phonemes, after the pronouncing rules of the voice.

No sound is needed: hibari's grapheme-to-phoneme rules say what any sentence is read as. Words are read in company
(for "the apple", "the pear"), and every word is its own CTC target, so phonemes belong to words exactly.

    python -m training.spelling work/texts.jsonl work/spelling.pt --minutes 15
"""

from __future__ import annotations

import argparse
import itertools
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from hibari import Hibari
from torch import Tensor

from model.spelling import Spelling, spell
from model.tts_adapter import TtsAdapterConfig
from training.data.speech import Texts
from training.loop import Curves, Run, Schedule, descend, mixed_precision, save_state


@dataclass(frozen=True)
class Spelled:
    """A sentence's letters, the letters of each word (its space counted in) and each word's phonemes."""

    letters: list[int]
    lengths: list[int]
    phonemes: list[list[int]]


class Pairs:
    """Sentences and how the voice reads them; those where words and groups of phonemes do not match are left out."""

    def __init__(self, texts: Path, seed: int) -> None:
        self.hibari = Hibari()
        self.rng = random.Random(seed)
        self.texts = Texts(texts, self.rng)
        self.texts.refresh()

    def read(self, sentence: str) -> Spelled | None:
        words = sentence.split()
        groups = self.hibari.g2p(sentence).split(" ")
        if len(words) != len(groups) or not words:
            return None
        lengths = [len(spell(word)) + 1 for word in words]
        lengths[-1] -= 1
        phonemes = [[self.hibari.vocab[c] for c in group if c in self.hibari.vocab] for group in groups]
        if min(lengths) < 1 or any(
            not p or len(p) + repeats(p) > 4 * n for p, n in zip(phonemes, lengths, strict=True)
        ):
            return None
        return Spelled(spell(sentence), lengths, phonemes)

    def lexicon_text(self) -> str:
        """Words of the pronouncing lexicon in a row; now and then a letter or a name's initial."""
        words = [self.rng.choice(self.texts.words) for _ in range(self.rng.randint(3, 12))]
        if self.rng.random() < 0.1:
            words.insert(self.rng.randrange(len(words)), self.rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
        return " ".join(words).capitalize() + self.rng.choice(".?!")

    def draw(self) -> Spelled:
        while True:
            text = self.lexicon_text() if self.rng.random() < 0.6 else self.texts.vary()
            for sentence in Hibari.split_sentences(text):
                if pair := self.read(sentence):
                    return pair


def repeats(phonemes: list[int]) -> int:
    """Neighbours that are equal: CTC needs an empty place between them."""
    return sum(a == b for a, b in itertools.pairwise(phonemes))


def collate(pairs: list[Spelled]) -> tuple[Tensor, Tensor]:
    longest = max(len(p.letters) for p in pairs)
    letters, mask = torch.zeros(len(pairs), longest, dtype=torch.long), torch.zeros(len(pairs), longest, 1)
    for row, pair in enumerate(pairs):
        letters[row, : len(pair.letters)] = torch.tensor(pair.letters)
        mask[row, : len(pair.letters)] = 1
    return letters, mask


def word_places(logits: Tensor, pairs: list[Spelled]) -> tuple[Tensor, Tensor]:
    """Logits (rows, n, slots, classes) cut into words: (words, places, classes) and places of each word."""
    slots = logits.shape[2]
    places, lengths = [], []
    for row, pair in enumerate(pairs):
        start = row * logits.shape[1]
        for length in pair.lengths:
            places.append(torch.arange(start * slots, (start + length) * slots))
            lengths.append(length * slots)
            start += length
    index = torch.nn.utils.rnn.pad_sequence(places, batch_first=True)
    return logits.flatten(0, 2)[index], torch.tensor(lengths)


def loss_of(spelling: Spelling, pairs: list[Spelled]) -> Tensor:
    letters, mask = collate(pairs)
    with mixed_precision():
        logits = spelling(letters, mask)
    places, lengths = word_places(logits.float(), pairs)
    targets = [p for pair in pairs for p in pair.phonemes]
    return F.ctc_loss(
        places.log_softmax(-1).transpose(0, 1),
        torch.tensor([p for target in targets for p in target]),
        lengths,
        torch.tensor([len(t) for t in targets]),
        blank=spelling.blank,
    )


@torch.no_grad()
def word_errors(spelling: Spelling, pairs: list[Spelled]) -> float:
    """Share of words whose phonemes are not exactly the voice's own."""
    wrong = total = 0
    for start in range(0, len(pairs), 64):
        some = pairs[start : start + 64]
        letters, mask = collate(some)
        places, lengths = word_places(spelling(letters, mask), some)
        targets = [p for pair in some for p in pair.phonemes]
        for best, length, target in zip(places.argmax(-1), lengths.tolist(), targets, strict=True):
            wrong += spelling.read(best[:length]) != target
            total += 1
    return wrong / total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spelling = Spelling(TtsAdapterConfig())
    optimizer = torch.optim.AdamW(spelling.parameters(), options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    state = torch.load(options.out, weights_only=True) if options.out.exists() else {}
    if state:
        spelling.load_state_dict(state["spelling"])
    if state.get("optimizer"):
        optimizer.load_state_dict(state["optimizer"])
    run = Run(Schedule(options.rate, minutes=options.minutes), optimizer, int(state.get("step", 0)), state.get("run"))
    pairs = Pairs(options.texts, seed=run.step)
    held_out = [p for text in pairs.texts.held_out for s in Hibari.split_sentences(text) if (p := pairs.read(s))]
    curves = Curves(options.out.with_suffix(".csv"), ("step", "seconds", "ctc_loss", "held_out_words_wrong"), run.step)
    smoothed: float | None = None

    def save() -> None:
        state = {"spelling": spelling.state_dict(), "optimizer": optimizer.state_dict()}
        save_state(options.out, {**state, "step": run.step, "run": run.state()})

    for step in run:
        loss = loss_of(spelling, [pairs.draw() for _ in range(options.rows)])
        descend(loss, optimizer, list(spelling.parameters()))
        smoothed = loss.item() if smoothed is None else 0.97 * smoothed + 0.03 * loss.item()
        if step % 100 == 0:
            wrong = word_errors(spelling, held_out)
            run.say(f"loss {smoothed:.4f}, held-out words wrong {wrong:.2%}")
            curves.add(step, round(run.seconds), smoothed, wrong)
            save()
    save()
    run.say(f"done, held-out words wrong {word_errors(spelling, held_out):.2%}")


if __name__ == "__main__":
    main()
