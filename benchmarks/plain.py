"""Mini-Omni in the plain way, to compare with: everything in float32 and as the published code goes about it.

Keys and values grow by one and are spread from 2 to 14 heads at every step, the whole vocabulary is scored for both
rows, tokens go through Python lists, the encoder always reads 30 s, and every four frames are decoded on their own.
Written from the paper (https://arxiv.org/abs/2408.16725) and the checkpoint's layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from snac import SNAC
from torch import Tensor
from whisper.audio import log_mel_spectrogram, pad_or_trim
from whisper.model import AudioEncoder

from model.config import OmniConfig
from model.mouth import frames_to_books
from model.public_layout import split_qkv
from model.vocabulary import AUDIO_LAYERS, DELAY, Task, build_prompt

FRAMES_A_CHUNK = 4


class PlainOmni:
    """Two rows in step: one speaks, one writes."""

    def __init__(self, config: OmniConfig, state: Mapping[str, Tensor], encoder: AudioEncoder, snac: SNAC) -> None:
        """`state` in the published layout, float32."""
        self.config, self.state, self.encoder, self.snac = config, state, encoder, snac
        body = config.body
        self.heads, self.groups = int(body["num_attention_heads"]), int(body["num_key_value_heads"])
        self.size = config.width // self.heads
        self.cache: list[tuple[Tensor, Tensor]] = []

    def hear(self, audio: np.ndarray) -> Tensor:
        """(samples,) at 16 kHz → the states of what was said (1, T, width)."""
        mel = log_mel_spectrogram(pad_or_trim(torch.from_numpy(audio)))
        return self.encoder(mel[None])[:, : int(len(audio) / 16 / 20) + 1]

    def prompt(self, features: Tensor) -> Tensor:
        """Both rows' prompts, embedded (2, positions, width)."""
        state, vocabulary = self.state, self.config.vocabulary
        heard = F.silu(features @ state["whisper_adapter.fc_1.weight"].T) * (
            features @ state["whisper_adapter.fc_2.weight"].T
        )
        heard = (heard @ state["whisper_adapter.proj.weight"].T)[0]
        rows = []
        for task in (Task.A1A2, Task.A1T2):
            prompt = build_prompt(vocabulary, task, features.shape[1])
            assert prompt.features_at is not None
            embedded = state["transformer.wte.weight"][prompt.ids]
            embedded[prompt.features_at : prompt.features_at + len(heard), :AUDIO_LAYERS] = heard[:, None]
            rows.append(embedded.mean(-2))
        return torch.stack(rows)

    def forward(self, x: Tensor) -> Tensor:
        """(2, steps, width) after what is in the cache → the last position's logits of everything (2, vocabulary)."""
        rows, steps, _ = x.shape
        start = self.cache[0][0].shape[2] if self.cache else 0
        angles = torch.arange(start, start + steps)[:, None] / self.config.body["rope_theta"] ** (
            torch.arange(0, self.size, 2) / self.size
        )
        cos, sin = torch.cat([angles.cos()] * 2, -1), torch.cat([angles.sin()] * 2, -1)

        def rotate(y: Tensor) -> Tensor:
            a, b = y.chunk(2, -1)
            return y * cos + torch.cat([-b, a], -1) * sin

        caches = []
        for n in range(int(self.config.body["num_hidden_layers"])):
            at = f"transformer.h.{n}."
            y = F.linear(self.norm(x, f"{at}norm_1"), self.weight(f"{at}attn.attn"), self.state[f"{at}attn.attn.bias"])
            q, k, v = split_qkv(y.permute(2, 0, 1), self.config)
            q, k, v = (part.unflatten(0, (-1, self.size)).permute(2, 0, 3, 1) for part in (q, k, v))
            q, k = rotate(q), rotate(k)
            if self.cache:
                k, v = (torch.cat([old, new], 2) for old, new in zip(self.cache[n], (k, v), strict=True))
            caches.append((k, v))
            k, v = (part.repeat_interleave(self.heads // self.groups, 1) for part in (k, v))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=steps > 1)
            x = x + F.linear(y.transpose(1, 2).reshape(rows, steps, -1), self.weight(f"{at}attn.proj"))
            y = self.norm(x, f"{at}norm_2")
            y = F.silu(F.linear(y, self.weight(f"{at}mlp.fc_1"))) * F.linear(y, self.weight(f"{at}mlp.fc_2"))
            x = x + F.linear(y, self.weight(f"{at}mlp.proj"))
        self.cache = caches
        return F.linear(self.norm(x[:, -1], "transformer.ln_f"), self.weight("lm_head"))

    def weight(self, name: str) -> Tensor:
        return self.state[f"{name}.weight"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight(name), self.config.body["rms_norm_eps"])

    def step(self, logits: Tensor) -> tuple[list[int], Tensor]:
        """The eight tokens that were chosen (7 audio, 1 text) → them, and what comes next (2, 1, width)."""
        v = self.config.vocabulary
        audio = [
            int(logits[0, v.text_size + n * v.layer_size : v.text_size + (n + 1) * v.layer_size].argmax())
            for n in range(AUDIO_LAYERS)
        ]
        text = int(logits[1, : v.text_size].argmax())
        spoken = v.streams(torch.tensor([audio]), torch.tensor([text]))
        written = v.padded(torch.tensor([text]))
        table = self.state["transformer.wte.weight"]
        return [*audio, text], torch.stack([table[ids].mean(-2) for ids in (spoken, written)])

    def chunks(self, audio: np.ndarray, frames: int) -> Iterator[np.ndarray]:
        """Answer a spoken question: sound, four frames at a time."""
        self.cache = []
        logits = self.forward(self.prompt(self.hear(audio)))
        tokens: list[list[int]] = []
        for step in range(frames + DELAY):
            chosen, embedded = self.step(logits)
            tokens.append(chosen)
            if step >= DELAY and (step - DELAY + 1) % FRAMES_A_CHUNK == 0:
                yield self.speak(tokens, step - DELAY + 1 - FRAMES_A_CHUNK)
            logits = self.forward(embedded)

    def speak(self, tokens: list[list[int]], first: int) -> np.ndarray:
        """Frames `first` … of the tokens so far, decoded without what was before."""
        codes = [[tokens[f + 1 + j][j] for j in range(AUDIO_LAYERS)] for f in range(first, first + FRAMES_A_CHUNK)]
        books = frames_to_books(torch.tensor(codes).clamp(max=self.config.vocabulary.codes - 1))
        sound: np.ndarray = self.snac.decode([book[None] for book in books])[0, 0].numpy()
        return sound
