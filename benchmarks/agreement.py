"""Whether the model as it is served here still chooses what it would in float32, word for word.

Each question is answered greedily in float32; the served weights then read the same words (teacher-forced) and are
asked at every place which comes next.
"""

from __future__ import annotations

import torch

from benchmarks.report import ROOT, Figure, Report
from model.omni import MiniOmni
from model.request import Request
from model.vocabulary import Task

LONGEST = 64
"""Tokens of an answer that are compared."""


def questions(count: int) -> list[str]:
    """Typed questions, `count` of two hundred."""
    lines = (ROOT / "training" / "questions.txt").read_text(encoding="utf-8").splitlines()
    return lines[:: max(1, len(lines) // count)][:count]


@torch.inference_mode()
def run(count: int) -> Report:
    """Compare the embedded model in float32 and in the weights that it is served with on this machine."""
    exact, served = MiniOmni.from_pretrained(dtype=torch.float32), MiniOmni.from_pretrained()
    assert exact.chat is not None
    equal = total = whole = 0
    furthest = 0.0
    asked = questions(count)
    for question in asked:
        prompt = torch.tensor(exact.chat.encode(question, Request(text=question), 900))
        written = exact.generate_tokens(Task.T1T2, text_ids=prompt, max_steps=LONGEST).text
        ids = torch.cat([prompt, written])[None]
        logits = [_logits(omni, ids, len(written)) for omni in (exact, served)]
        same = int((logits[0].argmax(-1) == logits[1].argmax(-1)).sum())
        furthest = max(furthest, float((logits[0] - logits[1]).abs().max()))
        equal, total, whole = equal + same, total + len(written), whole + (same == len(written))
    return Report(
        "agreement",
        f"{len(asked)} typed questions, at most {LONGEST} tokens each, body in {served.network.weight_format}",
        [
            Figure("greedy tokens as in float32", 100 * equal / total, "%", f"{equal} of {total}, teacher-forced"),
            Figure("answers with all of them", whole, "", f"of {len(asked)}"),
            Figure("farthest logit from float32's", furthest, ""),
        ],
    )


def _logits(omni: MiniOmni, ids: torch.Tensor, last: int) -> torch.Tensor:
    network = omni.network
    cache, slot = network.new_cache(1, ids.shape[1]), torch.zeros(1, dtype=torch.long)
    begin = ids.shape[1] - last
    places = torch.arange(ids.shape[1])[None]
    hidden = [network(network.embed(ids[:, :begin]), places[:, :begin], slot, cache)[0, -1:]]
    for place in range(begin, ids.shape[1] - 1):  # as it is served: one position at a time
        step = slice(place, place + 1)
        hidden.append(network(network.embed(ids[:, step]), places[:, step], slot, cache)[0])
    return network.text_logits(torch.cat(hidden))
