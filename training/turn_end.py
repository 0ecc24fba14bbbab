"""Fits the head that judges whether a speaker has said all (`model.turn_end`), on utterances of `training.data.turns`.

Each is heard and read once by the embedded model; what the head reads of it is kept beside its shard (`*.cues.npz`).
Beginnings that may as well be a whole sentence ("Can you tell me a story" of "… about a dog") are left out, judged by
the body from the true words. A logistic regression whose inputs are scaled to unit deviation, those of the encoder's
states a tenth of that: there are many of them. It is fitted on five sixths of the sentences at a time, which tells how
well it judges those it has not seen; then on all, and written.

    python -m training.turn_end work/turns checkpoints/smol-omni/turn_end.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.checkpoint import EMBEDDED, open_ears, open_language, read_config
from model.checkpoint import Precision as ModelPrecision
from model.ears import Hearing, QuickAdapter
from model.settings import default_cache_dir
from model.turn_end import TurnEnd, has_words
from training.data.shards import save_arrays
from training.data.turns import read_turns

_TAIL_SCALE = 0.1
_STRENGTH = 0.1
"""Inverse of the penalty on the weights' squares."""
_SURELY_OPEN = 0.2
"""Beginnings whose true words end a sentence with more than this probability are left out."""
_FOLDS = 6


@dataclass(frozen=True)
class Cues:
    """What the head reads of some utterances, a row each."""

    whole: np.ndarray  # (n,) the sentence
    kinds: np.ndarray  # (n,)
    true_words: np.ndarray  # (n,) log-odds of an end after what was really said
    words: np.ndarray  # (n, 2) `TurnEnd.log_odds`
    tail: np.ndarray  # (n, 3 · width)

    @property
    def over(self) -> np.ndarray:
        """(n,) bool: the speaker has said all."""
        over: np.ndarray = self.kinds == "whole"
        return over


class _FirstReading:
    """An ear adapter without doubts: what is served hears doubtful words again, which takes ten times as long and
    changes neither the draft nor the states."""

    def __init__(self, adapter: QuickAdapter) -> None:
        self.adapter = adapter

    def hear(self, states: Tensor, seconds: float) -> Hearing:
        return replace(self.adapter.hear(states, seconds), doubtful=False)

    def settle(self, doubted: Hearing, searched: Hearing) -> Hearing:
        """As the adapter does."""
        return self.adapter.settle(doubted, searched)


class Listener:
    """The embedded model's ears and body, as they are served on this machine."""

    def __init__(self) -> None:
        config, device = read_config(EMBEDDED), torch.device("cpu")
        precision = ModelPrecision.of("auto", device)
        ears = open_ears(EMBEDDED, config, precision, device)
        _, network, tokenizer = open_language(EMBEDDED, config, precision, default_cache_dir())
        assert tokenizer is not None
        assert ears is not None
        assert ears.quick is not None
        ears.quick = _FirstReading(ears.quick)
        self.ears, self.judge = ears, TurnEnd(network.eval(), tokenizer, {})

    def cues(self, shard: Path) -> Cues:
        """Of the utterances of a shard in which words were heard."""
        rows = []
        for one in read_turns(shard):
            hearing = self.ears.hear(one.sound.astype(np.float32) / 32768)
            if hearing.ending is not None and has_words(hearing.text) and has_words(one.said):
                words = self.judge.log_odds(hearing.text, hearing.ending.draft).numpy()
                true_words = float(self.judge.log_odds(one.said, one.said)[0])
                rows.append((one.whole, one.kind, true_words, words, hearing.ending.tail))
        return Cues(*(np.array(column) for column in zip(*rows, strict=True)))


def gather(folder: Path) -> Cues:
    """Of all shards in a folder; each is heard once."""
    parts, listener = [], None
    for shard in sorted(folder.glob("turns-*[0-9].npz")):
        kept = shard.with_suffix(".cues.npz")
        if not kept.exists():
            listener = listener or Listener()
            save_arrays(kept, **vars(listener.cues(shard)))
            print(f"{shard.name} heard", flush=True)
        with np.load(kept) as arrays:
            parts.append(Cues(**arrays))
    if not parts:
        raise FileNotFoundError(
            f"{folder} holds no shards; run: python -m training.data.turns training/texts.jsonl {folder}"
        )
    return Cues(*(np.concatenate([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def certain(cues: Cues) -> Cues:
    """Without beginnings that may be whole."""
    keep = cues.over | (cues.true_words < np.log(_SURELY_OPEN / (1 - _SURELY_OPEN)))
    return Cues(*(column[keep] for column in vars(cues).values()))


@dataclass(frozen=True)
class Head:
    """Weights over words (2,) and tail (3 · width,), and the bias."""

    words: np.ndarray
    tail: np.ndarray
    bias: float

    def __call__(self, cues: Cues) -> np.ndarray:
        """(n,) probabilities."""
        logits: np.ndarray = cues.words @ self.words + cues.tail @ self.tail + self.bias
        return 1 / (1 + np.exp(-logits))


def fit(cues: Cues) -> Head:
    """Minimise the mean cross entropy and the penalty, by L-BFGS."""
    inputs = np.concatenate([cues.words, cues.tail], 1).astype(np.float64)
    scale = np.concatenate([np.ones(2), np.full(cues.tail.shape[1], _TAIL_SCALE)]) / np.maximum(inputs.std(0), 1e-6)
    mean = inputs.mean(0)
    x, y = torch.from_numpy((inputs - mean) * scale), torch.from_numpy(cues.over.astype(np.float64))
    weights = torch.zeros(x.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([weights], max_iter=500, tolerance_change=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        descent.zero_grad()
        logits = x @ weights[:-1] + weights[-1]
        total = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
        total = total + weights[:-1].square().sum() / (2 * _STRENGTH)
        total.backward()
        return total

    descent.step(loss)
    found = weights.detach().numpy()
    plain = found[:-1] * scale
    return Head(plain[:2], plain[2:], float(found[-1] - mean @ plain))


def unseen(cues: Cues) -> np.ndarray:
    """(n,) probabilities, each by a head that was fitted without that sentence."""
    names = np.unique(cues.whole)
    fold = dict(zip(names, np.random.default_rng(0).integers(_FOLDS, size=len(names)), strict=True))
    folds = np.array([fold[name] for name in cues.whole])
    judged = np.zeros(len(folds))
    for number in range(_FOLDS):
        rest, out = (Cues(*(c[chosen] for c in vars(cues).values())) for chosen in (folds != number, folds == number))
        judged[folds == number] = fit(rest)(out)
    return judged


def report(cues: Cues, judged: np.ndarray) -> Iterator[str]:
    """How well unseen sentences are told apart."""
    over = cues.over
    yield f"{over.sum()} whole, {(~over).sum()} beginnings"
    ranks = np.argsort(np.argsort(judged))
    area = (ranks[over].sum() - over.sum() * (over.sum() - 1) / 2) / (over.sum() * (~over).sum())
    yield f"area under the curve {area:.4f}"
    for least in (0.2, 0.35, 0.5, 0.65, 0.8, 0.9):
        missed = [
            f"{kind} {100 * (judged[cues.kinds == kind] >= least).mean():.1f} %" for kind in ("cut", "hesitating")
        ]
        yield f"at {least}: {100 * (judged[over] >= least).mean():.1f} % of the whole; {', '.join(missed)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("turns", type=Path, help="folder of shards")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    cues = certain(gather(options.turns))
    for line in report(cues, unseen(cues)):
        print(line)
    head = fit(cues)
    tensors = {"words": head.words, "tail": head.tail, "bias": np.array([head.bias])}
    save_file({name: torch.from_numpy(value).float() for name, value in tensors.items()}, options.out)


if __name__ == "__main__":
    main()
