"""Whisper's text decoder made quick for one utterance: beam search over preallocated caches.

The search is openai-whisper's (`BeamSearchDecoder` with patience 1, no length penalty, its suppressed tokens): the same
states give the same words. It is quicker because all beams share one set of cross-attention keys and values,
projections are fused, and with bfloat16 weights half the memory is read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from whisper.model import MultiHeadAttention, ResidualAttentionBlock, TextDecoder
from whisper.tokenizer import Tokenizer, get_tokenizer
from whisper.utils import compression_ratio

from model.cancellation import give_up_if_unwanted
from model.packed import Projection, WeightFormat

HEAD_WIDTH = 64


@dataclass(frozen=True)
class Transcript:
    """What the decoder made of an utterance, and how sure it is."""

    text: str
    tokens: tuple[int, ...]
    average_log_probability: float
    """Of the tokens, the end included."""
    no_speech_probability: float
    compression_ratio: float
    """Bytes of the text by bytes of its zlib: above 2.4 it repeats itself."""
    complete: bool
    """It ended by itself, not at the limit of tokens."""


class _Attention:
    """One attention's projections: query, key and value fused where they read the same input."""

    def __init__(self, source: MultiHeadAttention, dtype: torch.dtype, cross: bool, weights: WeightFormat) -> None:
        self.heads = int(source.n_head)
        width = source.query.weight.shape[0]
        parts = [source.query, source.key, source.value]
        biases = [source.query.bias, torch.zeros(width, device=source.query.bias.device), source.value.bias]
        matrices = [part.weight for part in parts]
        asked = 1 if cross else 0  # of a cross-attention the first projection, the query, reads the words
        self.query = Projection(matrices[0].to(dtype), biases[0].detach().to(dtype), weights)
        joined = torch.cat(biases[asked:]).detach().to(dtype)
        # keys and values of a whole utterance are one large product, where packing gains nothing
        self.fused = Projection(torch.cat(matrices[asked:]).to(dtype), joined, "plain" if cross else weights)
        self.out = _projection(source.out, dtype, weights)


def _projection(source: nn.Module, dtype: torch.dtype, weights: WeightFormat) -> Projection:
    weight, bias = source.weight, source.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return Projection(weight.to(dtype), bias.detach().to(dtype), weights)


class _Block:
    def __init__(self, source: ResidualAttentionBlock, dtype: torch.dtype, weights: WeightFormat) -> None:
        assert source.cross_attn is not None
        assert source.cross_attn_ln is not None
        self.attention = _Attention(source.attn, dtype, cross=False, weights=weights)
        self.cross = _Attention(source.cross_attn, dtype, cross=True, weights=weights)
        self.up = _projection(source.mlp[0], dtype, weights)
        self.down = _projection(source.mlp[2], dtype, weights)
        self.norms = [source.attn_ln, source.cross_attn_ln, source.mlp_ln]


def _split(x: Tensor, heads: int) -> Tensor:
    """(rows, steps, heads · 64) → (rows, heads, steps, 64)."""
    return x.unflatten(-1, (heads, HEAD_WIDTH)).transpose(1, 2)


class BeamDecoder:
    """openai-whisper's `TextDecoder`, any size, for one utterance and several beams.

    The residual stream stays float32; projections run in `dtype` against weights in the formats `weights` and, for the
    product with the vocabulary, `head`.
    """

    def __init__(
        self,
        source: TextDecoder,
        dtype: torch.dtype = torch.float32,
        weights: WeightFormat = "plain",
        head: WeightFormat = "plain",
        table: Tensor | None = None,
    ) -> None:
        """`table`: the vocabulary's rows from elsewhere, where they are to be read from."""
        self.dtype = dtype
        self.blocks = [_Block(block, dtype, weights) for block in source.blocks]
        embedding = source.token_embedding.weight.detach().to(dtype)
        self.positions = source.positional_embedding.detach().float()
        self.norm = source.ln
        self._head = Projection(embedding, weights=head)
        self.embedding = embedding if table is None else table

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    def cross_cache(self, states: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of the encoder states (T, width), each (1, heads, T, 64), a pair a layer."""
        pairs = []
        for block in self.blocks:
            key, value = block.cross.fused(states[None].to(self.dtype)).chunk(2, -1)
            pairs.append((_split(key, block.cross.heads), _split(value, block.cross.heads)))
        return pairs

    def self_cache(self, rows: int, steps: int) -> list[Tensor]:
        """Room for keys and values: (2, rows, heads, steps, 64) a layer."""
        shapes = [(2, rows, block.attention.heads, steps, HEAD_WIDTH) for block in self.blocks]
        return [torch.zeros(shape, dtype=self.dtype, device=self.device) for shape in shapes]

    def __call__(self, tokens: Tensor, at: int, own: list[Tensor], crosses: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Tokens (rows, n) at positions at … at+n-1 → their hidden states (rows, n, width), float32; fills `own`."""
        rows, count = tokens.shape
        x = F.embedding(tokens, self.embedding).float() + self.positions[at : at + count]
        causal = torch.ones(count, at + count, dtype=torch.bool, device=x.device).tril(at) if count > 1 else None
        for block, cache, (key, value) in zip(self.blocks, own, crosses, strict=True):
            heads = block.attention.heads
            y = block.attention.fused(block.norms[0](x).to(self.dtype))
            q, k, v = (_split(part, heads) for part in y.chunk(3, -1))
            cache[0, :, :, at : at + count], cache[1, :, :, at : at + count] = k, v
            seen = cache[:, :, :, : at + count]
            y = F.scaled_dot_product_attention(q, seen[0], seen[1], causal)
            x = x + block.attention.out(y.transpose(1, 2).flatten(2))
            q = block.cross.query(block.norms[1](x).to(self.dtype)).reshape(1, rows * count, -1)
            y = F.scaled_dot_product_attention(_split(q, heads), key, value)
            x = x + block.cross.out(y.transpose(1, 2).flatten(2)).reshape(rows, count, -1)
            x = x + block.down(F.gelu(block.up(block.norms[2](x).to(self.dtype))))
        normed: Tensor = self.norm(x)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, width) → (…, vocabulary) float32."""
        return self._head(hidden.to(self.dtype)).float()


class Transcriber:
    """Encoder states in, transcript out.

    `beams=1` is greedy. The words come without timestamps.
    """

    def __init__(self, decoder: BeamDecoder, language: str = "en", beams: int = 5, multilingual: bool = True) -> None:
        self.decoder = decoder
        self.beams = beams
        self.tokenizer = get_tokenizer(multilingual, language=language, task="transcribe")
        self.prompt = self.tokenizer.sot_sequence_including_notimestamps
        vocabulary = decoder.embedding.shape[0]
        self.suppressed = torch.zeros(vocabulary, device=decoder.device)
        self.suppressed[_never_said(self.tokenizer)] = -math.inf
        self.suppressed_first = self.suppressed.clone()
        self.suppressed_first[[*self.tokenizer.encode(" "), self.tokenizer.eot]] = -math.inf

    @torch.inference_mode()
    def __call__(self, states: Tensor, max_tokens: int = 224) -> Transcript:
        """States (T, width) of one utterance → its transcript, of at most `max_tokens` tokens."""
        max_tokens = min(max_tokens, self.decoder.positions.shape[0] - len(self.prompt))
        crosses = self.decoder.cross_cache(states)
        own = self.decoder.self_cache(self.beams, len(self.prompt) + max_tokens)
        prompt = torch.tensor([self.prompt], device=self.decoder.device)
        first = [cache[:, :1] for cache in own]
        hidden = self.decoder(prompt, 0, first, crosses)
        logits = self.decoder.logits(hidden[0, [self.prompt.index(self.tokenizer.sot), -1]])
        assert self.tokenizer.no_speech is not None
        no_speech = float(logits[0].softmax(-1)[self.tokenizer.no_speech])
        for cache in own:
            cache[:, 1:] = cache[:, :1]
        search = _BeamSearch(self.beams, self.tokenizer.eot, max_tokens)
        log_probabilities = (logits[1:] + self.suppressed_first).log_softmax(-1)
        for step in range(max_tokens):
            give_up_if_unwanted()
            if search.advance(log_probabilities) or step + 1 == max_tokens:
                break
            filled = len(self.prompt) + step
            if search.sources != list(range(len(search.sources))):
                for cache in own:
                    cache[:, : len(search.sources), :, :filled] = cache[:, search.sources, :, :filled]
            rows = [cache[:, : len(search.sources)] for cache in own]
            hidden = self.decoder(self._column(search.last), filled, rows, crosses)
            log_probabilities = (self.decoder.logits(hidden[:, -1]) + self.suppressed).log_softmax(-1)
        tokens, average, complete = search.best()
        text = self.tokenizer.decode([token for token in tokens if token < self.tokenizer.eot]).strip()
        ratio = compression_ratio(text) if text else 0.0
        return Transcript(text, tokens, average, no_speech, ratio, complete)

    def _column(self, tokens: list[int]) -> Tensor:
        return torch.tensor(tokens, device=self.decoder.device)[:, None]


def _never_said(tokenizer: Tokenizer) -> list[int]:
    """openai-whisper's default: no symbols that aren't speech, no task tokens, no timestamps."""
    special = [tokenizer.transcribe, tokenizer.translate, tokenizer.sot, tokenizer.sot_prev, tokenizer.sot_lm]
    assert tokenizer.no_speech is not None
    return sorted({*tokenizer.non_speech_tokens, *special, tokenizer.no_speech})


class _BeamSearch:
    """The tokens of every beam and those that ended; the next step's rows are `sources` of this step's."""

    def __init__(self, beams: int, end: int, max_tokens: int) -> None:
        self.beams, self.end, self.max_tokens = beams, end, max_tokens
        self.active: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        self.finished: list[tuple[float, tuple[int, ...]]] = []
        self.sources: list[int] = []

    @property
    def last(self) -> list[int]:
        """The newest token of each beam."""
        return [tokens[-1] for _, tokens in self.active]

    def advance(self, log_probabilities: Tensor) -> bool:
        """Take the (rows, vocabulary) log-probabilities of the next token; True when the search is over."""
        values, ids = log_probabilities[: len(self.active)].topk(self.beams + 1)
        candidates = [
            (total + value, row, (*tokens, token))
            for row, (total, tokens) in enumerate(self.active)
            for value, token in zip(values[row].tolist(), ids[row].tolist(), strict=True)
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        self.active, self.sources = [], []
        for total, row, tokens in candidates:
            if tokens[-1] == self.end:
                self.finished.append((total, tokens[:-1]))
                continue
            self.active.append((total, tokens))
            self.sources.append(row)
            if len(self.active) == self.beams:
                break
        return len(self.finished) >= self.beams or self._decided()

    def _decided(self) -> bool:
        """No beam can win any more: its sum only falls, and it grows to `max_tokens` at most."""
        if not self.finished:
            return False
        best = max(total / max(1, len(tokens)) for total, tokens in self.finished)
        return self.active[0][0] / self.max_tokens <= best

    def best(self) -> tuple[tuple[int, ...], float, bool]:
        """Tokens, their average log-probability, and whether they ended by themselves."""
        ended = self.finished[: self.beams]
        cut = self.active[: max(0, self.beams - len(ended))]
        ranked = [(total / max(1, len(tokens)), total, tokens, True) for total, tokens in ended]
        ranked += [(total / max(1, len(tokens)), total, tokens, False) for total, tokens in cut]
        _, total, tokens, complete = max(ranked, key=lambda one: one[0])
        return tokens, total / (len(tokens) + 1), complete
