"""llama.cpp as the package `xllamacpp` brings it: the engine of its server, called in this process."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.packages import package

WINDOW = 2048
_QUIET = -1


@dataclass(frozen=True)
class Timed:
    """What llama.cpp itself measured of a request. Milliseconds."""

    prefill_ms: float
    """Of the prompt, with the logits of its last position."""
    step_ms: float
    """Of a decode step, on average; 0 where only one token was written."""


class LlamaFailed(RuntimeError):
    """llama.cpp refused a request, or did something else than it was asked for."""


class LlamaCpp:
    """One sequence at a time on `threads` threads; prompts share what they begin with unless a request forbids it."""

    def __init__(self, gguf: Path, threads: int) -> None:
        self._library = package("xllamacpp")
        settings = self._library.CommonParams()
        settings.model.path = str(gguf)
        settings.n_ctx, settings.n_parallel, settings.n_gpu_layers = WINDOW, 1, 0
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
        settings.cache_ram_mib = settings.n_ctx_checkpoints = 0  # states are not copied between requests
        settings.verbosity = _QUIET
        self._server = self._library.Server(settings)

    @property
    def build(self) -> str:
        """The instruction sets that it was compiled for."""
        _, _, features = str(self._library.get_system_info()).partition(":")
        return ", ".join(name.split("=")[0].strip() for name in features.split("|") if name.strip().endswith("= 1"))

    def time(self, prompt: Sequence[int], tokens: int) -> Timed:
        """Read a prompt of token ids, of which nothing is remembered, and write so many tokens greedily."""
        found: Any = self._server.handle_completions(
            {
                "prompt": list(prompt), "n_predict": tokens, "ignore_eos": True, "cache_prompt": False,
                "samplers": ["top_k"], "top_k": 1,
            }
        )  # fmt: skip
        timings = found.get("timings") if isinstance(found, dict) else None
        if timings is None or timings["prompt_n"] != len(prompt) or timings["predicted_n"] != tokens:
            raise LlamaFailed(f"llama.cpp was to read {len(prompt)} tokens and write {tokens}, and answered {found}")
        # it counts from the first token on, which the prefill brings
        return Timed(timings["prompt_ms"], timings["predicted_ms"] / (tokens - 1) if tokens > 1 else 0.0)

    def chat(self, messages: Sequence[dict[str, str]], tokens: int, repetition_penalty: float) -> Iterator[str]:
        """Pieces of a greedy answer of at most `tokens` tokens, while it is being written."""
        request = {
            "messages": list(messages), "max_tokens": tokens, "stream": True, "cache_prompt": True,
            "temperature": 0.0, "repeat_penalty": repetition_penalty,
        }  # fmt: skip
        chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with ThreadPoolExecutor(1) as beside:
            written = beside.submit(self._server.handle_chat_completions, request, chunks.put)
            written.add_done_callback(lambda _: chunks.put(None))
            while (chunk := chunks.get()) is not None:
                if "choices" not in chunk:
                    raise LlamaFailed(f"llama.cpp answered {chunk}")
                yield from (choice["delta"].get("content") or "" for choice in chunk["choices"])
            written.result()
