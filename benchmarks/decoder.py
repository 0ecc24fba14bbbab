"""The language model alone, beside llama.cpp on the very same weights, and beside what the machine can do at most.

Both run in processes of their own, on as many threads as there are cores, and are timed in turns, so that a noisy
machine hits both alike; the other one rests meanwhile. llama.cpp is timed by its own clock, ours around the whole call,
with the logits and the choice of the likeliest token.

    pip install -r requirements-benchmarks.txt
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.gguf_file import gguf_file
from benchmarks.process_memory import Memory
from benchmarks.questions import TEXTS
from benchmarks.report import Figure, Report, cores, median
from model.checkpoint_names import OMNI_1_5B, choose

if TYPE_CHECKING:
    from torch import Tensor

PREFILLS = (64, 128, 256)
"""Positions of the timed prompts. Decode steps are timed behind the longest."""
SEQUENCES = (1, 2, 4, 8, 16)
"""Decoded together, by ours alone: llama.cpp is given one."""
FIRST_TOKEN = 300
"""Prompts are token ids from here on: which ones they are changes no time."""
ANSWERS = 6
"""Questions that are answered in each round, each once with drafts and once without, and once by llama.cpp."""
REST_S = 0.3
"""Between the two: threads of the one that has just finished still spin."""
_WARM_STEPS = 3


@dataclass(frozen=True)
class Opened:
    """What opening took."""

    seconds: float
    before: Memory
    after: Memory
    """When it has read a prompt."""


@dataclass(frozen=True)
class Answered:
    """A question that ours has answered."""

    prompt: list[int]
    tokens: int
    """Of the answer, its end among them, without the first, which the prefill brings."""
    token_ms: float
    """Milliseconds of each of them, on average."""


class OurDecoder:
    """The packed language model of a checkpoint. Lives in a process of its own."""

    def __init__(self, model: str) -> None:
        import torch

        from model.checkpoint import Precision, draft_table, find, open_language, read_config
        from model.checkpoint_names import prompt_path
        from model.engine import Engine
        from model.omni import MiniOmni
        from model.settings import default_cache_dir

        before, began = Memory.of(psutil.Process()), time.perf_counter()
        folder, precision = find(model), Precision.of("int8", torch.device("cpu"))
        config, network, tokenizer = open_language(folder, read_config(folder), precision, default_cache_dir())
        network.fuse(precision.weights)
        prompt = prompt_path(default_cache_dir(), model)
        self._omni = MiniOmni(config, network, tokenizer, draft_table=draft_table(folder), prompt_file=prompt)
        self._engine = Engine(self._omni, 1)
        self._network, self._body = network, config.body
        seconds = time.perf_counter() - began
        self.prefill(PREFILLS[-1])
        self._opened = Opened(seconds, before, Memory.of(psutil.Process()))

    def opened(self) -> Opened:
        """What opening took."""
        return self._opened

    def sizes(self) -> tuple[int, int]:
        """Bytes of weights that a decode step reads, and multiply-adds of a position without the head."""
        return self._network.bytes_of_a_step, layer_products(self._body)

    def prefill(self, positions: int) -> float:
        """Milliseconds from an empty cache to the logits of the last position."""
        import torch

        network = self._network
        with torch.inference_mode():
            cache, slot = network.new_cache(1, positions), torch.zeros(1, dtype=torch.long)
            ids, places = torch.arange(positions)[None] + FIRST_TOKEN, torch.arange(positions)[None]
            began = time.perf_counter()
            network.text_logits(network(network.embed(ids), places, slot, cache)[:, -1])
            return 1000 * (time.perf_counter() - began)

    def decode(self, sequences: int, steps: int) -> float:
        """Milliseconds of a step of so many sequences together, each with `PREFILLS[-1]` positions before it."""
        import torch

        network, begin = self._network, PREFILLS[-1]
        with torch.inference_mode():
            cache, slots = network.new_cache(sequences, begin + _WARM_STEPS + steps), torch.arange(sequences)
            for kept in (cache.all_keys, cache.all_values):
                kept.normal_()
            tokens = slots + FIRST_TOKEN

            def step(index: int) -> Tensor:
                places = torch.full((sequences, 1), begin + index)
                logits = network.text_logits(network(network.embed(tokens[:, None]), places, slots, cache)[:, -1])
                return torch.from_numpy(logits.numpy().argmax(-1))

            for index in range(_WARM_STEPS):
                tokens = step(index)
            began = time.perf_counter()
            for index in range(_WARM_STEPS, _WARM_STEPS + steps):
                tokens = step(index)
            return 1000 * (time.perf_counter() - began) / steps

    def answer(self, question: str, drafts: bool) -> Answered:
        """Answer a question with the engine, with speculative decoding or without."""
        from model.request import Done, OmniError, Request
        from model.vocabulary import Task

        engine, omni = self._engine, self._omni
        assert omni.chat is not None
        drafter, request = omni.drafter, Request(text=question, task=Task.T1T2)
        omni.__dict__["drafter"] = drafter if drafts else None  # in place of the cached property
        try:
            answer = engine.begin(engine.prepare(request))
        finally:
            omni.__dict__["drafter"] = drafter
        began, done = None, False
        while not done:
            for _, event in engine.step():
                if isinstance(event, OmniError):
                    raise event
                done = isinstance(event, Done)
            began = time.perf_counter() if began is None and answer.text_tokens else began
        assert began is not None
        tokens = len(answer.text_tokens)
        prompt = omni.chat.encode(question, request, self._engine.window)
        return Answered(prompt, tokens, 1000 * (time.perf_counter() - began) / tokens)


class LlamaDecoder:
    """llama.cpp over a GGUF file. Lives in a process of its own."""

    def __init__(self, gguf: Path, threads: int) -> None:
        from benchmarks.llama import LlamaCpp

        before, began = Memory.of(psutil.Process()), time.perf_counter()
        self._llama = LlamaCpp(gguf, threads)
        seconds = time.perf_counter() - began
        self.time(PREFILLS[0], 1)
        self._opened = Opened(seconds, before, Memory.of(psutil.Process()))

    def opened(self) -> Opened:
        """What opening took."""
        return self._opened

    def build(self) -> str:
        """The instruction sets that it was compiled for."""
        return self._llama.build

    def time(self, positions: int, steps: int) -> tuple[float, float]:
        """Milliseconds of a prefill of so many positions, and of each of the decode steps after it."""
        return self.time_prompt(range(FIRST_TOKEN, FIRST_TOKEN + positions), steps)

    def time_prompt(self, prompt: Sequence[int], steps: int) -> tuple[float, float]:
        """The same, for a prompt of these tokens."""
        timed = self._llama.time(prompt, steps + 1)
        return timed.prefill_ms, timed.step_ms


class _Process(BaseManager):
    """A process that holds one object."""

    if TYPE_CHECKING:

        def our_decoder(self, model: str) -> OurDecoder: ...
        def llama_decoder(self, gguf: Path, threads: int) -> LlamaDecoder: ...


_Process.register("our_decoder", OurDecoder)
_Process.register("llama_decoder", LlamaDecoder)


@contextmanager
def _both(model: str, gguf: Path) -> Iterator[tuple[OurDecoder, LlamaDecoder]]:
    context = get_context("spawn")
    with _Process(ctx=context) as here, _Process(ctx=context) as there:
        yield here.our_decoder(model), there.llama_decoder(gguf, cores())


@dataclass
class Times:
    """A time of each round. Milliseconds."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def note(self) -> str:
        """The best of them, for the report."""
        return f"best {min(self.rounds):,.1f}"


OURS, NO_DRAFTS, LLAMA = "ours", "ours, without drafts", "llama.cpp"


@dataclass
class Measured:
    """What was timed, round by round."""

    read_ms: Times = field(default_factory=Times)
    """Reading the weights of a step, at the bandwidth of that round."""
    bandwidth: list[float] = field(default_factory=list)
    """Bytes a second."""
    decode: dict[int, Times] = field(default_factory=lambda: {sequences: Times() for sequences in SEQUENCES})
    prefill: dict[int, Times] = field(default_factory=lambda: {positions: Times() for positions in PREFILLS})
    llama_decode: Times = field(default_factory=Times)
    answers: dict[str, Times] = field(default_factory=lambda: {who: Times() for who in (OURS, NO_DRAFTS, LLAMA)})
    """Milliseconds of a token of an answer."""
    answered: int = 0
    llama_prefill: dict[int, Times] = field(default_factory=lambda: {positions: Times() for positions in PREFILLS})


def layer_products(body: Any) -> int:
    """Multiply-adds of a position in all layers of a decoder with these fields, attention's own left out."""
    width, heads = int(body["hidden_size"]), int(body["num_attention_heads"])
    head_dim = int(body.get("head_dim") or width // heads)
    groups = int(body.get("num_key_value_heads") or heads)
    attention = width * head_dim * (2 * heads + 2 * groups)
    return int(body["num_hidden_layers"]) * (attention + 3 * width * int(body["intermediate_size"]))


def _round(ours: OurDecoder, llama: LlamaDecoder, steps: int, found: Measured, step_bytes: int) -> None:
    from benchmarks.limits import read_bandwidth

    found.bandwidth.append(read_bandwidth(3))
    found.read_ms.rounds.append(1000 * step_bytes / found.bandwidth[-1])
    for positions in PREFILLS:
        found.prefill[positions].rounds.append(ours.prefill(positions))
        if positions == PREFILLS[-1]:
            found.decode[1].rounds.append(ours.decode(1, steps))
        time.sleep(REST_S)
        prefill_ms, step_ms = llama.time(positions, steps if positions == PREFILLS[-1] else 0)
        found.llama_prefill[positions].rounds.append(prefill_ms)
        if step_ms:
            found.llama_decode.rounds.append(step_ms)
        time.sleep(REST_S)
    for sequences in SEQUENCES[1:]:
        found.decode[sequences].rounds.append(ours.decode(sequences, max(2, steps // 4)))


def _answer_round(ours: OurDecoder, llama: LlamaDecoder, found: Measured) -> None:
    """The next few questions, each answered by all three: llama.cpp writes as many tokens as ours."""
    spent: dict[str, list[float]] = {who: [] for who in found.answers}
    for question in (TEXTS[(found.answered + index) % len(TEXTS)] for index in range(ANSWERS)):
        plain, drafted = ours.answer(question, False), ours.answer(question, True)
        time.sleep(REST_S)
        _, step_ms = llama.time_prompt(drafted.prompt, drafted.tokens)
        time.sleep(REST_S)
        for who, token_ms in zip(spent, (drafted.token_ms, plain.token_ms, step_ms), strict=True):
            spent[who].append(token_ms)
    for who, times in spent.items():
        found.answers[who].rounds.append(sum(times) / len(times))
    found.answered += ANSWERS


def _has_amx() -> bool:
    """The processor multiplies tiles of 8-bit integers (AMX)."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "amx_int8" in cpuinfo.read_text(encoding="utf-8").split()


def ratio(name: str, value: float, wanted: float | None = None, at_least: bool = False, note: str = "") -> Figure:
    """A ratio beside its target, where it has one."""
    if wanted is not None:
        met = value >= wanted if at_least else value <= wanted
        told = f"target: {'≥' if at_least else '≤'} {wanted:g}, {'met' if met else 'missed'}"
        note = f"{told}; {note}" if note else told
    return Figure(name, value, "times", note)


def _decode_figures(found: Measured, step_bytes: int, targets: bool) -> Iterator[Figure]:
    alone, llama = found.decode[1], found.llama_decode

    def wanted(value: float) -> float | None:
        return value if targets else None

    yield Figure("memory reads", median(found.bandwidth) / 1e9, "GB/s", f"best {max(found.bandwidth) / 1e9:.1f}")
    yield Figure("weights that a decode step reads", step_bytes / 1e6, "MB")
    yield Figure("… at that bandwidth: the floor", found.read_ms.median, "ms", found.read_ms.note)
    yield Figure("decode step, one sequence", alone.median, "ms", f"{alone.note}; {1000 / alone.median:.1f} tokens/s")
    over = [ours / floor for ours, floor in zip(alone.rounds, found.read_ms.rounds, strict=True)]
    yield ratio("… against the floor", median(over), wanted(1.15), note=f"best {min(over):.2f}")
    yield Figure("… llama.cpp", llama.median, "ms", f"{llama.note}; {1000 / llama.median:.1f} tokens/s")
    faster = [theirs / ours for ours, theirs in zip(alone.rounds, llama.rounds, strict=True)]
    yield ratio("… ours is faster", median(faster), wanted(1.2), True, f"rounds {min(faster):.2f}–{max(faster):.2f}")
    for sequences in SEQUENCES[1:]:
        together = found.decode[sequences]
        told = f"{together.note}; {1000 * sequences / together.median:.1f} tokens/s"
        yield Figure(f"decode step, {sequences} sequences together", together.median, "ms", told)
        limit = {8: 2.5, 16: 4.0}.get(sequences)
        share = [all_ / one for all_, one in zip(together.rounds, alone.rounds, strict=True)]
        yield ratio("… against one", median(share), wanted(limit) if limit else None)


def _answer_figures(found: Measured, targets: bool) -> Iterator[Figure]:
    drafted, plain, llama = (found.answers[who] for who in (OURS, NO_DRAFTS, LLAMA))
    told = f"{drafted.note}; {1000 / drafted.median:.1f} tokens/s; drafts are verified, several tokens in a step"
    yield Figure("token of an answer", drafted.median, "ms", told)
    yield Figure("… without drafts", plain.median, "ms", f"{plain.note}; {1000 / plain.median:.1f} tokens/s")
    yield Figure("… of llama.cpp", llama.median, "ms", f"{llama.note}; {1000 / llama.median:.1f} tokens/s; no drafts")
    faster = [theirs / ours for ours, theirs in zip(drafted.rounds, llama.rounds, strict=True)]
    note = f"rounds {min(faster):.2f}–{max(faster):.2f}"
    yield ratio("… ours with drafts is faster", median(faster), 1.2 if targets else None, True, note)


def _prefill_figures(found: Measured, products: int, targets: bool) -> Iterator[Figure]:
    from benchmarks.limits import byte_products_peak

    peak = byte_products_peak()
    for positions in PREFILLS:
        ours, llama = found.prefill[positions], found.llama_prefill[positions]
        told = f"{ours.note}; {1000 * positions / ours.median:.0f} positions/s"
        yield Figure(f"prefill of {positions} positions", ours.median, "ms", told)
        told = f"{llama.note}; {1000 * positions / llama.median:.0f} positions/s"
        yield Figure("… llama.cpp", llama.median, "ms", told)
        faster = [theirs / mine for mine, theirs in zip(ours.rounds, llama.rounds, strict=True)]
        limit = (4.0 if _has_amx() else 1.5) if targets else None
        yield ratio("… ours is faster", median(faster), limit, True, f"rounds {min(faster):.2f}–{max(faster):.2f}")
        if peak is not None:  # each weight is multiplied with the high and the low byte of an activation
            floor_ms = 1000 * 2 * products * positions / peak
            told = f"of {floor_ms:,.0f} ms: two 8-bit products for each weight at {peak / 1e9:.0f} billion a second"
            yield Figure("… against the peak of vpdpbusd", ours.median / floor_ms, "times", told)


def _memory_figures(name: str, opened: Opened) -> Iterator[Figure]:
    before, after = opened.before, opened.after
    yield Figure(f"open, {name}", opened.seconds, "s", "from the packed file" if name == "ours" else "")
    yield Figure(
        "… memory that it took",
        after.resident - before.resident,
        "MB",
        f"of it {after.shared - before.shared:,.0f} MB of files, shared by all processes; "
        f"by its share of those {after.proportional - before.proportional:,.0f} MB",
    )


def run(model: str | None, gguf: Path | None, rounds: int, steps: int) -> Report:
    """Time `rounds` rounds of `steps` decode steps and of every prefill, on both.

    Raises `PackageMissing`, or an `OmniError` where the weights are not there.
    """
    name, found = choose(model), Measured()
    with gguf_file(name, gguf) as file, _both(name, file) as (ours, llama):
        step_bytes, products = ours.sizes()
        ours.decode(SEQUENCES[-1], 1)  # compiles what is not compiled yet
        for _ in range(rounds):
            _round(ours, llama, steps, found, step_bytes)
            _answer_round(ours, llama, found)
        targets, build, opened = name == OMNI_1_5B, llama.build(), (ours.opened(), llama.opened())
    figures: Sequence[Figure] = [
        *_decode_figures(found, step_bytes, targets),
        *_answer_figures(found, targets),
        *_prefill_figures(found, products, targets),
        *_memory_figures("ours", opened[0]),
        *_memory_figures("llama.cpp", opened[1]),
        Figure("rounds", rounds, "", f"llama.cpp was compiled for {build}"),
    ]
    workload = (
        f"{name} beside llama.cpp in turns, {cores()} threads, median of {rounds} rounds; decode behind {PREFILLS[-1]} "
        "positions"
    )
    return Report("decoder", workload, figures)
