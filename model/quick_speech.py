"""`SpeechDecoder` for serving: a step of all answers in one compiled call, weights, keys and values in float16."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from model.attention import AttentionBlock
from model.dense import dense, packed_layers, row_places
from model.lm.decoder_kernel import attend, gate, norm, rotate
from model.tts_adapter import SpeechCache, SpeechDecoder, TtsAdapterConfig
from model.vectors import ANY_ORDER, LANES, compiled, exponential, gelu, load, store_halves
from model.vocabulary import AUDIO_LAYERS, DELAY


class QuickSpeechDecoder(nn.Module):
    """Takes the weights of a `SpeechDecoder`; holds no parameters, and can neither be trained nor saved."""

    def __init__(self, decoder: SpeechDecoder) -> None:
        super().__init__()
        self.config = c = decoder.config
        blocks = [block for block in decoder.blocks if isinstance(block, AttentionBlock)]
        first, last = decoder.history[0], decoder.history[2]
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        self._enter = (packed_layers([decoder.condition]), packed_layers([first]), packed_layers([last]))
        self._layers = tuple(
            packed_layers([getattr(block, name) for block in blocks]) for name in ("qkv", "out", "gate_up", "down")
        )
        self._leave = (packed_layers(list(decoder.aim)), packed_layers(list(decoder.heads)))  # type: ignore[arg-type]
        norms = [(block.norm_1, block.norm_2) for block in blocks] + [(decoder.norm, decoder.norm)]
        weights = [torch.stack([a.weight.detach(), b.weight.detach()]) for a, b in norms]
        self._norms = torch.stack(weights).float().numpy()  # (blocks + 1, 2, width)
        self._eps = np.float32(decoder.norm.eps or 0.0)
        self._books = decoder.books[decoder.layer_books].float().numpy()  # (7, codes, code_dim)
        self._frequencies = blocks[0].frequencies.float().numpy()
        self._numbers = (c.heads, c.window, c.hidden)

    @staticmethod
    def fits(config: TtsAdapterConfig) -> bool:
        """Whether rows and heads are whole numbers of vectors."""
        return config.width % (2 * LANES) == 0 and config.width // config.heads % LANES == 0

    def new_cache(self, slots: int) -> SpeechCache:
        """Room for `slots` answers, of any length."""
        return SpeechCache(len(self._norms) - 1, slots, self.config, torch.zeros(0, dtype=torch.float16))

    def step(
        self, conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache
    ) -> Tensor:
        """As `SpeechDecoder.step`: (rows, 8 · width), (rows, 7), (rows,), (rows,) → (rows, 7, codes)."""
        keys, values = (kept.view(torch.uint16).numpy() for kept in (cache.all_keys, cache.all_values))
        logits = np.empty((len(conditions), AUDIO_LAYERS, self.config.codes), np.float32)
        _step(
            conditions.float().contiguous().numpy(), previous.contiguous().numpy(), positions.numpy(), slots.numpy(),
            self._books, self._enter, self._layers, self._leave, self._norms, self._eps, self._frequencies,
            *self._numbers, keys, values, logits,
        )  # fmt: skip
        return torch.from_numpy(logits)


@compiled()
def _apply(x, layers, index, y):  # type: ignore[no-untyped-def]
    """Rows of x times layer `index` of some packed ones → rows of y, which has room for the padding."""
    rows = row_places(1, len(x), 0, x.shape[1], 0)
    targets = row_places(1, len(x), 0, y.shape[1], 0)
    dense(x.ravel(), rows, x.shape[1], (layers[0][index], layers[1][index]), y.ravel(), targets)


@compiled()
def _room(rows, layers):  # type: ignore[no-untyped-def]
    return np.empty((rows, layers[1].shape[1]), np.float32)


@compiled(fastmath=ANY_ORDER)
def _add(x, y):  # type: ignore[no-untyped-def]
    for row in range(len(x)):
        line, more = x[row], y[row]
        for k in range(len(line)):
            line[k] += more[k]


@compiled()
def _angles(positions, frequencies):  # type: ignore[no-untyped-def]
    """Cosine and sine of each row's rotation, (rows, head_dim / 2)."""
    cos = np.empty((len(positions), len(frequencies)), np.float32)
    sin = np.empty_like(cos)
    for row in range(len(positions)):
        for k in range(len(frequencies)):
            angle = np.float32(positions[row]) * frequencies[k]
            cos[row, k], sin[row, k] = np.cos(angle), np.sin(angle)
    return cos, sin


@compiled(fastmath=ANY_ORDER)
def _silu(x, y, scratch):  # type: ignore[no-untyped-def]
    """Of x + y, into y."""
    for k in range(len(x)):
        y[k] += x[k]
        scratch[k] = exponential(-y[k])
    for k in range(len(x)):
        y[k] = y[k] / (np.float32(1) + scratch[k])


@compiled()
def _step(  # type: ignore[no-untyped-def]
    conditions, previous, positions, slots, books, enter, layers, leave, norms, eps, frequencies,
    heads, window, hidden, keys, values, logits,
):  # fmt: skip
    rows, wide = conditions.shape
    width = wide // (DELAY + 1)
    head_dim = width // heads
    x, more = _room(rows, enter[0]), _room(rows, enter[2])
    _apply(conditions, enter[0], 0, x)
    codes, size = books.shape[1], books.shape[2]
    told = np.zeros((rows, AUDIO_LAYERS * (size + 1)), np.float32)
    for row in range(rows):
        for layer in range(AUDIO_LAYERS):
            code = previous[row, layer]
            if code >= codes:
                told[row, AUDIO_LAYERS * size + layer] = np.float32(1)
            else:
                told[row, layer * size : (layer + 1) * size] = books[layer, code]
    history = _room(rows, enter[1])
    _apply(told, enter[1], 0, history)
    scratch = np.empty(max(history.shape[1], width), np.float32)
    for row in range(rows):
        gelu(history[row], scratch)
    _apply(history, enter[2], 0, more)
    _add(x, more)

    normed, seen, active = np.empty_like(x), np.empty_like(x), np.empty((rows, hidden), np.float32)
    qkv, gates = _room(rows, layers[0]), _room(rows, layers[2])
    scores = np.empty(window, np.float32)
    cos, sin = _angles(positions, frequencies)
    for block in range(len(norms) - 1):
        for row in range(rows):
            norm(x[row], norms[block, 0], eps, normed[row])
        _apply(normed, layers[0], block, qkv)
        for row in range(rows):
            here, slot, place = qkv[row], slots[row], positions[row] % window
            for head in range(2 * heads):  # of queries, then of keys
                rotate(here[head * head_dim : (head + 1) * head_dim], cos[row], sin[row])
            for head in range(heads):
                key_of, value_of = keys[block, slot, head].ravel(), values[block, slot, head].ravel()  # views
                at = head * head_dim
                for k in range(0, head_dim, LANES):
                    store_halves(key_of, place * head_dim + k, load(here, width + at + k))
                    store_halves(value_of, place * head_dim + k, load(here, 2 * width + at + k))
                known, part = scores[: min(positions[row] + 1, window)], slice(at, at + head_dim)
                attend(here[part], keys[block, slot, head], values[block, slot, head], known, seen[row, part])
        _apply(seen, layers[1], block, more)
        _add(x, more)
        for row in range(rows):
            norm(x[row], norms[block, 1], eps, normed[row])
        _apply(normed, layers[2], block, gates)
        for row in range(rows):
            gate(gates[row, :hidden], gates[row, hidden : 2 * hidden], active[row])
        _apply(active, layers[3], block, more)
        _add(x, more)
    for row in range(rows):
        norm(x[row], norms[-1, 0], eps, normed[row])

    aimed, out = _room(rows, leave[0]), _room(rows, leave[1])
    for layer in range(AUDIO_LAYERS):  # layer j is told once more what frame s - 1 - j says
        frame = DELAY - 1 - layer
        for row in range(rows):
            seen[row] = conditions[row, frame * width : (frame + 1) * width]
        _apply(seen, leave[0], layer, aimed)
        for row in range(rows):
            _silu(normed[row], aimed[row], scratch)
        _apply(aimed, leave[1], layer, out)
        for row in range(rows):
            logits[row, layer] = out[row, :codes]
