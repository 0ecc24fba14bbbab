"""The published model's full size on seeded weights: as it is served here, beside the plain way, in one process.

What is said is noise, as the weights are; what it costs is what the real weights would cost, for the same sums are
done. The text never ends, so both rows are written to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from snac import SNAC
from torch import Tensor
from whisper.model import AudioEncoder, ModelDimensions

from benchmarks.engine import body_bytes, time_ms
from benchmarks.limits import float32_peak, read_bandwidth
from benchmarks.plain import FRAMES_A_CHUNK, PlainOmni
from benchmarks.questions import microphone
from benchmarks.report import Figure, Report, median
from model import AudioChunk, MiniOmni, Request
from model.answer import CHUNKS
from model.checkpoint import Precision, build_network
from model.checkpoint_files import fill
from model.config import OmniConfig
from model.ears import StateEncoder, whisper_encoder
from model.engine import Engine
from model.mouth import SAMPLE_RATE
from model.packed import quick_dtype
from model.prepare import Prepared
from model.process_memory import give_back_memory
from model.public_layout import from_public, public_shapes
from model.published_ears import PublishedEars
from model.snac_mouth import SNAC_24KHZ, PublishedSnac, build_snac
from model.vocabulary import DELAY, Task

FULL_SIZE = {
    "n_layer": 24, "n_head": 14, "n_query_groups": 2, "n_embd": 896, "intermediate_size": 4864, "norm_eps": 1e-6,
    "rope_base": 1_000_000, "add_qkv_bias": True, "block_size": 2048, "whisper_adapter_dim": 768,
}  # fmt: skip
WHISPER_SMALL = ModelDimensions(80, 1500, 768, 12, 12, 51865, 448, 768, 12, 12)
QUESTION_SECONDS = 3
FRAMES, PLAIN_FRAMES = 96, 24
"""Of an answer that is timed as a whole: 8 s, and 2 s of the plain way."""
PREFILL = 100
CONTEXT = 200


def seeded(shape: tuple[int, ...], noise: Tensor) -> Tensor:
    """Weights that keep numbers in bounds, (shape), float32."""
    count = int(np.prod(shape))
    drawn = noise.repeat(-(-count // len(noise)))[:count].view(shape)
    return drawn * shape[-1] ** -0.5 if len(shape) > 1 else 1 + 0.1 * drawn


def parts() -> tuple[OmniConfig, dict[str, Tensor], AudioEncoder, SNAC]:
    """Weights of all parts, float32, always the same."""
    config = OmniConfig.from_public(FULL_SIZE)
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    state = {key: seeded(shape, noise) for key, shape in public_shapes(config).items()}
    encoder = whisper_encoder(WHISPER_SMALL)
    shapes = {key: tuple(tensor.shape) for key, tensor in encoder.state_dict().items()}
    encoder.load_state_dict({key: seeded(shape, noise) for key, shape in shapes.items()}, assign=True)
    torch.manual_seed(0)
    return config, state, encoder.eval(), SNAC(**SNAC_24KHZ).eval()


def served(config: OmniConfig, state: dict[str, Tensor], encoder: AudioEncoder, snac: SNAC) -> MiniOmni:
    """As `MiniOmni.from_pretrained` serves the published files on this machine."""
    precision = Precision.of("auto", torch.device("cpu"))
    network = build_network(config, precision.dtype)
    fill(network, from_public(state, config), Path("seeded weights"), precision.dtype)
    network.fuse(precision.weights)
    small = whisper_encoder(WHISPER_SMALL)
    small.load_state_dict(encoder.state_dict(), assign=True)
    mouth = build_snac(SNAC_24KHZ)
    mouth.load_state_dict(snac.state_dict())
    omni = MiniOmni(config, network)
    omni.features = PublishedEars(StateEncoder(small, quick_dtype())).features
    omni.mouth = PublishedSnac(mouth)
    return omni


def answer(chunks: Callable[[], object]) -> tuple[float, float]:
    """→ seconds to the first sound; from there on, seconds it takes ÷ seconds of sound."""
    began = begun = time.perf_counter()
    first, samples = 0.0, 0
    for chunk in chunks():  # type: ignore[attr-defined]
        if not first:
            first, begun, samples = time.perf_counter() - began, time.perf_counter(), -len(chunk)
        samples += len(chunk)
    return first, (time.perf_counter() - begun) / (samples / SAMPLE_RATE)


@torch.inference_mode()
def run(steps: int) -> Report:
    """Time ours and the plain way, in turns."""
    config, state, encoder, snac = parts()
    omni, plain = served(config, state, encoder, snac), PlainOmni(config, state, encoder, snac)
    give_back_memory()
    network, mouth = omni.network, omni.mouth
    assert omni.features is not None
    assert mouth is not None
    hear, question = omni.features, microphone(1)[0].astype(np.float32)[: 16_000 * QUESTION_SECONDS] / 32768
    question = np.pad(question, (0, 16_000 * QUESTION_SECONDS - len(question)))
    few = max(3, steps // 20)
    cache, slots = network.new_cache(2, CONTEXT + 1), torch.arange(2)
    prompt = torch.randn(2, PREFILL, config.width) * 0.1
    one, at = prompt[:, :1], torch.full((2, 1), CONTEXT)

    def step(_: int) -> None:
        hidden = network(one, at, slots, cache)[:, -1]
        network.text_logits(hidden[1:]).numpy().argmax(-1)
        network.audio_logits(hidden[:1]).numpy().argmax(-1)

    plain.forward(torch.randn(2, CONTEXT, config.width) * 0.1)
    kept = plain.cache

    def plain_step(_: int) -> None:
        plain.cache = kept
        plain.step(plain.forward(one))

    def plain_prefill(_: int) -> None:
        plain.cache = []
        plain.forward(prompt)

    codes = torch.randint(4096, (FRAMES, 7), generator=torch.Generator().manual_seed(1))
    tokens = [[int(code) for code in codes[n % FRAMES]] for n in range(FRAMES_A_CHUNK + DELAY + 1)]
    stream = mouth.stream()
    features = torch.randn(1, PREFILL - 3, 768, generator=torch.Generator().manual_seed(2))

    def prefill(_: int) -> None:
        engine = Engine(omni, max_slots=1)
        spoken = engine.begin(Prepared(Request(), Task.A1A2, features=features))
        while spoken.rows[0].position < PREFILL:
            engine.step()

    pairs: list[tuple[str, str, list[float], list[float]]] = [
        ("decode step, both rows", "ms", time_ms(step, steps), time_ms(plain_step, few)),
        (
            f"Whisper small on a {QUESTION_SECONDS} s question",
            "ms",
            time_ms(lambda _: hear(question), few),
            time_ms(lambda _: plain.hear(question), few),
        ),
        (
            f"prefill of {PREFILL} positions by 2 rows",
            "ms",
            time_ms(prefill, few),
            time_ms(plain_prefill, few),
        ),
        (
            "SNAC, a frame, with what it sees around it (plain: without)",
            "ms",
            [ms / CHUNKS[-1] for ms in time_ms(lambda _: stream.push(codes[: CHUNKS[-1]]), few)],
            [ms / FRAMES_A_CHUNK for ms in time_ms(lambda _: plain.speak(tokens, 0), few)],
        ),
    ]
    request = Request(audio=question, max_tokens=2000, max_seconds=FRAMES * 2048 / SAMPLE_RATE)
    ours = answer(lambda: (e.samples for e in omni.generate(request) if isinstance(e, AudioChunk)))
    theirs = answer(lambda: plain.chunks(question, PLAIN_FRAMES))
    pairs.append(("first sound after the question", "s", [ours[0]], [theirs[0]]))
    pairs.append(("real-time factor from there on", "", [ours[1]], [theirs[1]]))
    bandwidth, read = read_bandwidth(), body_bytes(omni)
    figures = []
    for name, unit, quick, slow in pairs:
        note = f"plain: {median(slow):,.2f}, {median(slow) / median(quick):.1f} × as long"
        figures.append(Figure(name, median(quick), unit, note))
    figures += [
        Figure("least time of a step", 1000 * read / bandwidth, "ms", f"reading {read / 1e6:.0f} MB of weights"),
        Figure("memory reads", bandwidth / 1e9, "GB/s", "measured, all threads"),
        Figure("float32 products", float32_peak() / 1e9, "GFLOP/s", "measured, all threads, PyTorch's own"),
    ]
    return Report("published", f"full size, seeded weights, body in {network.weight_format}", figures)
