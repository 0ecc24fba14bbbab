"""Whether the model as it is served here still chooses what it would in float32, token for token.

The served weights write greedy answers, one question alone and eight at once. The float32 evaluation of the same
weights then reads them (teacher-forced), and at every place both are asked which token comes next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.report import ROOT, Figure, Report
from model.checkpoint_names import choose
from model.engine import Engine
from model.omni import MiniOmni
from model.prepare import Prepared
from model.request import OmniError, Request
from model.sampling import SamplingParams
from model.vocabulary import Task

_PLAIN = SamplingParams(repetition_penalty=1.0)
"""The likeliest token each time, which is what is compared: no penalty for repeating."""
LONGEST = 64
"""Tokens of an answer that are compared."""
AT_ONCE = 8
"""Questions that are answered together, to compare with each alone."""
_PROMPT_ROOM = 900


def questions(count: int) -> list[str]:
    """Typed questions, `count` of two hundred."""
    lines = (ROOT / "training" / "questions.txt").read_text(encoding="utf-8").splitlines()
    return lines[:: max(1, len(lines) // count)][:count]


def write(omni: MiniOmni, prompts: Sequence[Tensor], at_once: int) -> list[list[int]]:
    """The tokens of a greedy answer to each prompt (n,), so many at the same time; the end is among them."""
    window = max(map(len, prompts)) + 3 + LONGEST
    engine = Engine(omni, max_slots=at_once, window=window)
    written = []
    for first in range(0, len(prompts), at_once):
        answers = []
        for ids in prompts[first : first + at_once]:
            prepared = Prepared(
                Request(max_tokens=LONGEST, max_seconds=1e6, sampling=_PLAIN), Task.T1T2, text_ids=tuple(map(int, ids))
            )
            answers.append(engine.begin(prepared))
            answers[-1].max_steps = LONGEST
        while engine.busy:
            for _, event in engine.step():
                if isinstance(event, OmniError):
                    raise event
        written += [list(answer.text_tokens) for answer in answers]
    ends = omni.config.ends[:1]
    return [tokens if len(tokens) >= LONGEST else [*tokens, *ends] for tokens in written]


def next_logits(omni: MiniOmni, prompt: Tensor, written: Tensor) -> Tensor:
    """Logits (n, text_size) of each of the tokens `written` (n,) after a prompt, read in one pass."""
    network, ids = omni.network, torch.cat([prompt, written])[None, :-1]
    cache, slot = network.new_cache(1, ids.shape[1]), torch.zeros(1, dtype=torch.long)
    hidden = network(network.embed(ids), torch.arange(ids.shape[1])[None], slot, cache)[0]
    return network.text_logits(hidden[-len(written) :])


@torch.inference_mode()
def run(model: str | None, count: int) -> Report:
    """Compare a model in float32 and in the weights that it is served with on this machine."""
    name, asked = choose(model), questions(count)
    served = MiniOmni.from_pretrained(name)
    chat = served.chat
    assert chat is not None
    prompts = [torch.tensor(chat.encode(question, Request(text=question), _PROMPT_ROOM)) for question in asked]
    written = write(served, prompts, 1)
    together = write(served, prompts, AT_ONCE)
    exact = MiniOmni.from_pretrained(name, dtype=torch.float32)
    equal = total = whole = as_written = 0
    furthest = 0.0
    for prompt, answer in zip(prompts, map(torch.tensor, written), strict=True):
        ours, theirs = (next_logits(omni, prompt, answer) for omni in (served, exact))
        speakable = ours.isfinite()  # others have no logits where the head is a matrix of its own
        chosen = ours.argmax(-1)
        same = int((theirs.masked_fill(~speakable, -torch.inf).argmax(-1) == chosen).sum())
        furthest = max(furthest, float((ours - theirs)[speakable].abs().max()))
        equal, total, whole = equal + same, total + len(answer), whole + (same == len(answer))
        as_written += int((chosen == answer).sum())
    alike = sum(alone == beside for alone, beside in zip(written, together, strict=True))
    return Report(
        "agreement",
        f"{name}, {len(asked)} typed questions, at most {LONGEST} tokens each, {served.network.weight_format}",
        [
            Figure("greedy tokens as in float32", 100 * equal / total, "%", f"{equal} of {total}; target: ≥ 99.5"),
            Figure("answers with all of them", whole, "", f"of {len(asked)}"),
            Figure("farthest logit from float32's", furthest, ""),
            Figure("tokens as written when all are read at once", 100 * as_written / total, "%"),
            Figure(f"answers alike, alone and {AT_ONCE} at once", alike, "", f"of {len(asked)}; target: all"),
        ],
    )
