"""The trained ear adapter: Whisper's encoder states in, letters out, all at once.

A small network reads the states 40 ms at a time and is trained by CTC: halfway it must say the plain
letters and is told what it said; at its end it says two signs for every 40 ms, of text as it is written. It needs no
decoder, so its time hardly grows with the words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from model.attention import AttentionBlock
from model.convnext import ConvNeXt
from model.ears import Hearing
from model.rounded import load_rounded, save_rounded
from model.unset import weights_unset

SIGNS = " 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz,.?!;:"
"""What is written; sign n is class n + 1, class 0 is CTC's blank."""
LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
"""What is said halfway: no capitals, no marks."""
STATES_A_STEP = 2
_SIGNS_A_STEP = 2
_BLANK_BIAS = 2.0
_FEWEST_SIGNS = 1
"""Letters and digits of the shortest words: fewer are nothing said."""
_SIZES = "sizes"


@dataclass(frozen=True)
class EarAdapterConfig:
    """Sizes of `EarNetwork`."""

    states: int = 512
    """Width of the encoder's states."""
    width: int = 320
    hidden: int = 640
    heads: int = 5
    kernel: int = 9
    early: int = 2
    """Blocks before the halfway letters."""
    late: int = 2


class EarBlock(nn.Module):
    """A look at the neighbours, then at all that was said: Whisper's states do not tell only of their own 20 ms."""

    def __init__(self, config: EarAdapterConfig) -> None:
        super().__init__()
        self.near = ConvNeXt(config.width, config.hidden, config.kernel)
        self.far = AttentionBlock(config.width, config.heads, config.hidden)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(batch, steps, width), (batch, steps, 1) → (batch, steps, width)."""
        x = self.near(x, mask)
        positions = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
        real = mask[:, None, None, :, 0] > 0
        y: Tensor = self.far.attend(x, *self.far.project(x, positions), real) * mask
        return y


class EarNetwork(nn.Module):
    """States (batch, T, 512) → logits of signs, one for every state."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: EarAdapterConfig | None = None) -> None:
        super().__init__()
        self.config = c = config or EarAdapterConfig()
        self.register_buffer("mean", torch.zeros(c.states))
        self.register_buffer("deviation", torch.ones(c.states))
        self.read = nn.Linear(4 * c.states, c.width)
        self.early = nn.ModuleList(EarBlock(c) for _ in range(c.early))
        self.early_norm = nn.LayerNorm(c.width)
        self.letters = nn.Linear(c.width, _SIGNS_A_STEP * (len(LETTERS) + 1))
        self.told = nn.Linear(_SIGNS_A_STEP * (len(LETTERS) + 1), c.width)
        self.late = nn.ModuleList(EarBlock(c) for _ in range(c.late))
        self.late_norm = nn.LayerNorm(c.width)
        self.signs = nn.Linear(c.width, _SIGNS_A_STEP * (len(SIGNS) + 1))
        with torch.no_grad():
            for head in (self.letters, self.signs):
                head.bias.view(_SIGNS_A_STEP, -1)[:, 0] = _BLANK_BIAS
        self.dropout = nn.Dropout(0.1)

    def normalise(self, states: Tensor) -> Tensor:
        """States as the encoder gives them → of about unit deviation, float32."""
        return (states.float() - self.mean) / self.deviation

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised states (batch, T, 512), T even, and (batch, T / 2, 1), 0 beyond a row's end.

        → logits of letters and of signs, (batch, T, classes) each.
        """
        x = x * mask.repeat_interleave(STATES_A_STEP, 1)
        x = F.pad(x, (0, 0, 1, 1)).unfold(1, 4, STATES_A_STEP).transpose(2, 3).flatten(2)  # (batch, T / 2, 4 · 512)
        x = self.read(x) * mask
        for block in self.early:
            x = self.dropout(block(x, mask))
        letters = self.letters(self.early_norm(x))
        said = _by_state(letters).softmax(-1).flatten(2).view(letters.shape)
        x = (x + self.told(said)) * mask
        for block in self.late:
            x = self.dropout(block(x, mask))
        return _by_state(letters), _by_state(self.signs(self.late_norm(x)))

    @torch.inference_mode()
    def spell(self, states: Tensor) -> Spelled:
        """States (T, 512) of one utterance → what was said."""
        x = self.normalise(states[: len(states) // STATES_A_STEP * STATES_A_STEP])[None]
        _, logits = self(x, torch.ones(1, x.shape[1] // STATES_A_STEP, 1, device=x.device))
        likelihoods, classes = logits[0].log_softmax(-1).max(-1)
        average = float(likelihoods[classes > 0].mean()) if bool((classes > 0).any()) else 0.0
        return Spelled(collapse(classes.tolist()), average)


@dataclass(frozen=True)
class Spelled:
    """Text, and how sure the network is of its signs on average (log-probability)."""

    text: str
    average_log_probability: float


def _by_state(logits: Tensor) -> Tensor:
    """(batch, T / 2, 2 · classes) → (batch, T, classes)."""
    return logits.unflatten(-1, (_SIGNS_A_STEP, -1)).flatten(1, 2)


def collapse(classes: Sequence[int], signs: str = SIGNS) -> str:
    """CTC's reading of the likeliest classes: repeats are one, blanks are none."""
    return " ".join("".join(signs[c - 1] for c, _ in groupby(classes) if c).split())


class SpelledWords:
    """`model.ears.EarAdapter`: what the network spells, without any decoder."""

    def __init__(self, network: EarNetwork, least_log_probability: float = -0.5) -> None:
        self.network = network.eval().requires_grad_(False)
        self.least_log_probability = least_log_probability

    def hear(self, states: Tensor, seconds: float) -> Hearing:
        """States (T, 512) → what the network reads in them; doubtful where it is unsure on average."""
        said = self.network.spell(states)
        nothing = sum(sign.isalnum() for sign in said.text) < _FEWEST_SIGNS
        return Hearing(
            text="" if nothing else said.text,
            no_speech=nothing,
            doubtful=said.average_log_probability < self.least_log_probability,
            average_log_probability=said.average_log_probability,
        )

    def settle(self, doubted: Hearing, searched: Hearing) -> Hearing:
        """What the search found."""
        del doubted
        return searched


def save_ear_adapter(network: EarNetwork, path: Path) -> None:
    """Write the weights, rounded, and the sizes."""
    save_rounded(network.state_dict(), path, {_SIZES: json.dumps(asdict(network.config))})


def load_ear_adapter(path: Path) -> EarNetwork:
    """The network of a file of `save_ear_adapter`, float32, for reading."""
    with safe_open(path, "pt") as file:
        sizes = EarAdapterConfig(**json.loads(file.metadata()[_SIZES]))
    with weights_unset():
        network = EarNetwork(sizes)
    network.load_state_dict(load_rounded(path))
    return network.eval().requires_grad_(False)
