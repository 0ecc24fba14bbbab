"""Counts what follows what in answers (`training.draft_answers`), for speculative decoding.

    python -m training.draft_table work/answers.jsonl checkpoints/omni-1.5b --model omni-1.5b

A table of `n` contexts takes 13 bytes each. A context whose most frequent token the shorter one gives as well is left
out. `--held-out` prints how often the drafts are right on every fifth answer, which is not counted then.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from model.lm.speculative import ORDERS, TABLE_FILE, Drafter, DraftTable, context_key
from model.omni import MiniOmni

DISCOUNTS = {3: 0.45, 2: 0.7}
"""Occurrences that are taken off a context's most frequent token, by the context's tokens: with them, the shares are
those of answers that were not counted."""
_SAME_SHARE = 32
"""Of 255. A context whose shorter one says nearly the same is left out."""
Answer = tuple[list[int], list[int]]
"""Tokens of a question, and of its answer with the end."""


def tokenized(path: Path, tokenizer: Tokenizer, end: int) -> Iterator[Answer]:
    """The questions and answers of a file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        yield tokenizer.encode(row["question"]).ids, [*tokenizer.encode(row["answer"]).ids, end]


def count(answers: Sequence[Answer]) -> DraftTable:
    """The table of these answers.

    A share is discounted, by `DISCOUNTS`: what was seen once is less certain than what was always seen.
    """
    found: dict[int, tuple[int, int]] = {}
    for order in reversed(ORDERS):
        following: defaultdict[int, Counter[int]] = defaultdict(Counter)
        shorter: dict[int, int] = {}
        for _, tokens in answers:
            for at, token in enumerate(tokens):
                key = context_key(tokens[:at], order)
                following[key][token] += 1
                shorter[key] = context_key(tokens[:at], order - 1)
        for key, counted in following.items():
            token, times = counted.most_common(1)[0]
            share = max(0, round(255 * (times - DISCOUNTS[order]) / counted.total()))
            known = found.get(shorter[key])
            if known is None or known[0] != token or abs(known[1] - share) > _SAME_SHARE:
                found[key] = token, share
    keys = sorted(found)
    return DraftTable(
        np.array(keys, np.int64),
        np.array([found[key][0] for key in keys], np.int32),
        np.array([found[key][1] for key in keys], np.uint8),
    )


def measure(drafter: Drafter, answers: Sequence[Answer]) -> tuple[float, float]:
    """Share of the steps after an answer's first token whose first draft is right, and tokens a step."""
    right = steps = 0
    for question, tokens in answers:
        at = 1
        while at < len(tokens):
            drafts = drafter.draft([*question, *tokens[:at]], at)
            same = 0
            while same < len(drafts) and at + same < len(tokens) and drafts[same] == tokens[at + same]:
                same += 1
            right, steps = right + (same > 0), steps + 1
            at += same + 1
    return right / steps, sum(len(tokens) - 1 for _, tokens in answers) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path)
    parser.add_argument("folder", type=Path, help="of the checkpoint that gets the table")
    parser.add_argument("--model", default="omni-1.5b", help="whose tokens they are")
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    omni = MiniOmni.from_pretrained(options.model)
    if omni.tokenizer is None or omni.chat is None:
        parser.error(f"{options.model} is no chat model")
    answers = list(tokenized(options.answers, omni.tokenizer, omni.chat.end))
    if options.held_out:
        table = count([answer for number, answer in enumerate(answers) if number % 5])
        right, tokens = measure(Drafter(omni.tokenizer, table), answers[::5])
        print(f"{len(answers[::5])} answers held out: the first draft is right {right:.1%}, {tokens:.2f} tokens a step")
        right, tokens = measure(Drafter(omni.tokenizer, None), answers[::5])
        print(f"without the table: {right:.1%}, {tokens:.2f} tokens a step")
    table = count(answers)
    save_file({name: getattr(table, name) for name in ("keys", "tokens", "shares")}, options.folder / TABLE_FILE)
    print(f"{len(table.keys)} contexts of {len(answers)} answers in {options.folder / TABLE_FILE}")


if __name__ == "__main__":
    main()
