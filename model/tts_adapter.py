"""The embedded model's speech: from the text that the body writes to SNAC tokens, in step with it.

The paper's TTS adapter (section 3.2, "text-instructed" speech) is a few decoder blocks after the language model that
read its text and predict the seven SNAC layers, each a step later than the one before. This one learns from tens of
hours, so it is shown where it is in the text:

* `Spelling` reads letters and predicts phonemes, word by word (CTC);
* `PhonemeEncoder` reads phonemes, with a bounded look-ahead, and predicts how long each lasts;
* `FrameEncoder` lays them on the time line: what is being said in each quarter of a frame;
* `SpeechDecoder`, decoder blocks with a sliding window, predicts the tokens from that and from the tokens before.

`SpeechPlanner` runs the first three for one answer while its text is still being written; every answer's decoder
steps are batched.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.mouth import LAYER_BOOKS, SAMPLE_RATE, SAMPLES_PER_FRAME
from model.sampling import SamplingParams
from model.text import MARKS, speakable

ALPHABET = "\0 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + MARKS
"""Letters that `Spelling` reads; index 0 is what surrounds a sentence."""
DURATION_UNIT_SAMPLES = 600
"""Durations are counted in 25 ms."""
LAYERS = 7
DELAY = LAYERS
"""Frame f is complete after decoder step f + 7: layer j of frame f is predicted at step f + 1 + j."""
QUARTER_SAMPLES = SAMPLES_PER_FRAME // 4
_SENTENCE_END = ".?!"
_TITLES = frozenset(
    [
        "Mr",
        "Mrs",
        "Ms",
        "Dr",
        "Prof",
        "St",
        "Mt",
        "Ft",
        "Gen",
        "Gov",
        "Sen",
        "Rep",
        "Capt",
        "Lt",
        "Col",
        "Sgt",
        "Rev",
        "Hon",
        "Jr",
        "Sr",
    ]
)


@dataclass(frozen=True)
class TtsAdapterConfig:
    """Sizes. Phonemes are the voice's own symbols: 0 begins and ends a sentence, `space` parts two words."""

    phonemes: int = 178
    space: int = 16
    longest: int = 31
    """The longest duration, in units of 25 ms."""
    spelling_width: int = 192
    spelling_blocks: int = 6
    slots: int = 4
    """Places for phonemes per letter."""
    width: int = 256
    hidden: int = 768
    phoneme_blocks: int = 4
    frame_blocks: int = 3
    decoder_blocks: int = 4
    heads: int = 4
    window: int = 48
    """Decoder steps that attention looks back, 4 s."""
    codes: int = 1024
    code_dim: int = 8
    kernel: int = 7


def spell(text: str) -> list[int]:
    """Indices into `ALPHABET`; accents are dropped and other characters ignored."""
    plain = unicodedata.normalize("NFKD", text)
    return [index for letter in plain if (index := ALPHABET.find(letter)) > 0]


class ConvNeXt(nn.Module):
    """ConvNeXt block over (batch, time, channels) that sees `kernel // 2` steps to either side."""

    def __init__(self, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.scale = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`mask` (batch, time, 1) is 0 beyond a row's end, so that rows of a batch equal rows alone."""
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return (x + self.scale * self.down(F.gelu(self.up(self.norm(y))))) * mask


class ConvStack(nn.Module):
    """ConvNeXt blocks and a LayerNorm; `reach` steps of context to either side decide a step's output."""

    def __init__(self, blocks: int, width: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvNeXt(width, hidden, kernel) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.reach = blocks * (kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x * mask
        for block in self.blocks:
            x = block(x, mask)
        out: Tensor = self.norm(x)
        return out


class Spelling(nn.Module):
    """Letters of a sentence → for each letter, `slots` places that hold a phoneme or nothing (CTC)."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.slots, self.blank = config.slots, config.phonemes
        self.letters = nn.Embedding(len(ALPHABET), config.spelling_width)
        self.stack = ConvStack(config.spelling_blocks, config.spelling_width, 3 * config.spelling_width, config.kernel)
        self.spread = nn.Linear(config.spelling_width, config.slots * 128)
        self.heads = nn.Linear(128, config.phonemes + 1)

    @property
    def reach(self) -> int:
        """Letters ahead that decide a letter's phonemes."""
        return self.stack.reach

    def forward(self, letters: Tensor, mask: Tensor) -> Tensor:
        """(rows, n) letters, (rows, n, 1) mask → logits (rows, n, slots, phonemes + 1)."""
        x = self.spread(self.stack(self.letters(letters), mask))
        logits: Tensor = self.heads(F.gelu(x.unflatten(-1, (self.slots, -1))))
        return logits

    def read(self, best: Tensor) -> list[int]:
        """Greedy CTC: best classes of a word's places (letters, slots) → its phonemes."""
        collapsed = torch.unique_consecutive(best.flatten()).tolist()
        return [p for p in collapsed if p != self.blank]


class PhonemeEncoder(nn.Module):
    """Phonemes → states, and how long each phoneme lasts (classes of 25 ms)."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.phonemes, config.width)
        self.stack = ConvStack(config.phoneme_blocks, config.width, config.hidden, config.kernel)
        self.durations = nn.Linear(config.width, config.longest + 1)

    @property
    def reach(self) -> int:
        """Phonemes ahead that decide a phoneme's state."""
        return self.stack.reach

    def forward(self, phonemes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(rows, n), (rows, n, 1) → states (rows, n, width), duration logits (rows, n, longest + 1)."""
        states = self.stack(self.table(phonemes), mask)
        return states, self.durations(states)


def quarter_features(starts: Tensor, durations: Tensor, index: Tensor) -> Tensor:
    """Where each quarter frame lies in its phoneme: (rows, quarters, 6).

    `starts` and `durations` (rows, n) are in samples, `index` (rows, quarters) names each quarter's phoneme.
    """
    centre = (torch.arange(index.shape[1], device=index.device) + 0.5) * QUARTER_SAMPLES
    return _quarter_features(centre, starts.gather(1, index), durations.gather(1, index))


def _quarter_features(centre: Tensor, start: Tensor, duration: Tensor) -> Tensor:
    since = (centre - start) / SAMPLE_RATE
    left = (start + duration - centre) / SAMPLE_RATE
    share = (since / (duration / SAMPLE_RATE).clamp(min=1e-3)).clamp(0, 1.5)
    edge = 512 / SAMPLE_RATE  # how the 21 ms around the centre are shared with the neighbours
    return torch.stack(
        [
            share,
            since.clamp(-0.1, 0.6) * 4,
            left.clamp(-0.1, 0.6) * 4,
            (since / edge).clamp(-1, 1),
            (left / edge).clamp(-1, 1),
            torch.ones_like(since),
        ],
        -1,
    )


class FrameEncoder(nn.Module):
    """What is said in each quarter of a frame (21.3 ms) → one state a frame."""

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Linear(6, 64), nn.GELU(), nn.Linear(64, config.width))
        self.enter = nn.Linear(3 * config.width, config.width)
        self.stack = ConvStack(config.frame_blocks, config.width, config.hidden, config.kernel)
        self.join = nn.Linear(4 * config.width, config.width)

    @property
    def reach(self) -> int:
        """Quarters ahead that decide a quarter's state."""
        return self.stack.reach

    def forward(self, neighbours: Tensor, features: Tensor, mask: Tensor) -> Tensor:
        """States of the phoneme before, at and after each quarter (rows, 4 · frames, 3 · width), `features`
        (rows, 4 · frames, 6) → (rows, frames, width)."""
        x = self.stack(self.enter(neighbours) + self.place(features), mask)
        frames: Tensor = self.join(x.unflatten(1, (-1, 4)).flatten(2))
        return frames


def _rotate(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class DecoderBlock(nn.Module):
    """Pre-norm attention with rotary positions and SwiGLU."""

    frequencies: Tensor

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm_1 = nn.RMSNorm(width, eps=1e-5)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_2 = nn.RMSNorm(width, eps=1e-5)
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)
        steps = torch.arange(0, self.head_dim, 2) / self.head_dim
        self.register_buffer("frequencies", 1 / 1000.0**steps, persistent=False)

    def project(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, steps, width), positions (rows, steps) → q, k, v (rows, heads, steps, head_dim)."""
        q, k, v = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        angle = (positions[..., None].float() * self.frequencies)[:, None]
        return _rotate(q, angle), _rotate(k, angle), v

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(self.norm_2(x)).chunk(2, -1)
        out: Tensor = x + self.down(F.silu(gate) * up)
        return out


@dataclass
class SpeechCache:
    """Keys and values of the last `window` steps of every slot, a ring a layer: constant memory per answer."""

    keys: list[Tensor]
    values: list[Tensor]

    def clear(self, slot: int) -> None:
        """Forget a slot whose values cannot be trusted: not even a masked step may hold NaN."""
        for kept in (*self.keys, *self.values):
            kept[slot] = 0


class SpeechDecoder(nn.Module):
    """Decoder blocks over the answer's steps: conditions and earlier tokens in, seven layers of tokens out."""

    books: Tensor
    layer_books: Tensor

    def __init__(self, config: TtsAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("books", torch.zeros(3, config.codes, config.code_dim))
        self.register_buffer("layer_books", torch.tensor(LAYER_BOOKS), persistent=False)
        self.condition = nn.Linear((DELAY + 1) * config.width, config.width)
        self.history = nn.Sequential(
            nn.Linear(LAYERS * (config.code_dim + 1), 2 * config.width),
            nn.GELU(),
            nn.Linear(2 * config.width, config.width),
        )
        self.blocks = nn.ModuleList(
            DecoderBlock(config.width, config.heads, config.hidden) for _ in range(config.decoder_blocks)
        )
        self.norm = nn.RMSNorm(config.width, eps=1e-5)
        self.aim = nn.ModuleList(nn.Linear(config.width, config.width) for _ in range(LAYERS))
        self.heads = nn.ModuleList(nn.Linear(config.width, config.codes, bias=False) for _ in range(LAYERS))

    def embed(self, conditions: Tensor, previous: Tensor) -> Tensor:
        """Windows of frame states (rows, steps, 8 · width) and the tokens of the step before (rows, steps, 7)."""
        pad = previous >= self.config.codes
        vectors = self.books[self.layer_books, previous.masked_fill(pad, 0)].masked_fill(pad[..., None], 0.0)
        history = torch.cat([vectors.flatten(-2), pad.to(vectors.dtype)], -1)
        embedded: Tensor = self.condition(conditions) + self.history(history)
        return embedded

    def logits(self, x: Tensor, conditions: Tensor) -> Tensor:
        """(rows, steps, 7, codes): layer j is told once more what frame s - 1 - j says."""
        x = self.norm(x)
        frames = conditions.unflatten(-1, (DELAY + 1, -1))  # frame s - 7 … s
        layers = [head(F.silu(x + aim(frames[..., DELAY - 1 - j, :]))) for j, (aim, head) in enumerate(self._heads())]
        return torch.stack(layers, -2)

    def _heads(self) -> list[tuple[nn.Module, nn.Module]]:
        return list(zip(self.aim, self.heads, strict=True))

    def forward(self, conditions: Tensor, previous: Tensor) -> Tensor:
        """Whole answers at once, for training: → logits (rows, steps, 7, codes)."""
        steps = conditions.shape[1]
        position = torch.arange(steps, device=conditions.device)
        back = position[:, None] - position
        mask = (back >= 0) & (back < self.config.window)
        x = self.embed(conditions, previous)
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            x = block.attend(x, *block.project(x, position.expand(len(x), -1)), mask)
        return self.logits(x, conditions)

    def new_cache(self, slots: int) -> SpeechCache:
        c = self.config
        shape = (slots, c.heads, c.window, c.width // c.heads)
        like = self.condition.weight
        return SpeechCache([like.new_zeros(shape) for _ in self.blocks], [like.new_zeros(shape) for _ in self.blocks])

    def step(
        self, conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache
    ) -> Tensor:
        """One step of any set of answers: (rows, 8 · width), (rows, 7), (rows,), (rows,) → (rows, 7, codes)."""
        window = self.config.window
        place = positions % window
        filled = (torch.arange(window, device=positions.device) <= positions[:, None])[:, None, None]
        conditions = conditions[:, None]
        x = self.embed(conditions, previous[:, None])
        for block, keys, values in zip(self.blocks, cache.keys, cache.values, strict=True):
            assert isinstance(block, DecoderBlock)
            q, k, v = block.project(x, positions[:, None])
            keys[slots, :, place] = k[:, :, 0]
            values[slots, :, place] = v[:, :, 0]
            x = block.attend(x, q, keys[slots], values[slots], filled)
        return self.logits(x, conditions)[:, 0]


class TtsAdapter(nn.Module):
    """Everything between the answer's text and its SNAC tokens."""

    def __init__(self, config: TtsAdapterConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TtsAdapterConfig()
        self.spelling = Spelling(config)
        self.phoneme_encoder = PhonemeEncoder(config)
        self.frame_encoder = FrameEncoder(config)
        self.decoder = SpeechDecoder(config)

    @property
    def pad(self) -> int:
        """The code that stands where there is none: before a layer's first frame and after its last."""
        return self.config.codes

    @property
    def default_sampling(self) -> SamplingParams:
        return SamplingParams(temperature=0.0)

    @property
    def condition_width(self) -> int:
        return (DELAY + 1) * self.config.width

    def planner(self) -> SpeechPlanner:
        """Begin an answer."""
        return SpeechPlanner(self)

    def new_cache(self, slots: int) -> SpeechCache:
        """Room for `slots` answers, of any length."""
        return self.decoder.new_cache(slots)

    def step(
        self, conditions: Tensor, previous: Tensor, positions: Tensor, slots: Tensor, cache: SpeechCache
    ) -> Tensor:
        """One decoder step of the answers in `slots`.

        `conditions` (rows, condition_width) come from each answer's planner, `previous` (rows, 7) are the tokens of
        the step before (`pad` where there are none), `positions` (rows,) the step numbers → logits (rows, 7, codes).
        """
        return self.decoder.step(conditions, previous, positions, slots, cache)


def window_frames(frames: Tensor) -> Tensor:
    """Frame states (rows, frames, width) → what each of frames + 7 steps is shown (rows, steps, 8 · width).

    Step s sees the frames s - 7 … s, zeros where there is none.
    """
    padded = F.pad(frames, (0, 0, DELAY, DELAY))
    return padded.unfold(1, DELAY + 1, 1).transpose(2, 3).flatten(2)


@dataclass(frozen=True)
class _Word:
    """A word to be spoken and where the answer's text stands when it has been."""

    spoken: str
    text_end: int


class SpeechPlanner:
    """Lays one answer's text on the time line while it is still being written.

    Text goes in by `feed` and `finish`; `condition(step)` is certain for `available` steps. Only as much is planned
    as the next steps need. Everything equals what the whole text at once would give.
    """

    AHEAD = 16
    """Steps planned ahead of the last one asked for."""

    def __init__(self, adapter: TtsAdapter) -> None:
        self._adapter = adapter
        self._raw = ""
        self._taken = 0
        self._words: list[_Word] = []  # of the sentence that is being spelled, not yet spelled
        self._sentence = ""  # its letters so far, spelled ones too
        self._spelled = 0  # letters of it that are spelled
        self._ends: list[tuple[int, int]] = []  # (index of a word's last phoneme, text end)
        self._finished = False
        self._phonemes: list[int] = []
        self._closed = False  # no phoneme will be added
        width = adapter.config.width
        self._states = torch.zeros(0, width)
        self._durations: list[int] = []
        self._starts: list[int] = [0]  # samples; one more than there are durations
        self._frames = torch.zeros(0, width)
        self._asked = 0
        self._queue: list[tuple[str, list[_Word], bool]] = []

    # -- text ---------------------------------------------------------------------------------------------------
    def feed(self, text: str) -> None:
        """More of the answer's text."""
        self._raw += text
        self._take_words()

    def finish(self) -> None:
        """The text is complete."""
        self._finished = True
        self._take_words()

    def _take_words(self) -> None:
        while True:
            start = self._taken
            while start < len(self._raw) and self._raw[start].isspace():
                start += 1
            end = start
            while end < len(self._raw) and not self._raw[end].isspace():
                end += 1
            if end == start or (end == len(self._raw) and not self._finished):
                return
            self._taken = end
            spoken = speakable(self._raw[start:end]).split()
            self._words += [_Word(word, end) for word in spoken]
            if not spoken and self._ends:
                self._ends.append((self._ends[-1][0], end))

    def _sentence_length(self) -> int | None:
        """How many of the waiting words end the sentence; None while that is open."""
        for index, word in enumerate(self._words):
            if word.spoken[-1] not in _SENTENCE_END:
                continue
            if index + 1 == len(self._words):
                return index + 1 if self._finished else None
            if self._words[index + 1].spoken[0].islower():
                continue
            bare = word.spoken[:-1]
            if word.spoken[-1] != "." or not (bare in _TITLES or (len(bare) == 1 and bare.isupper())):
                return index + 1
        return len(self._words) if self._finished and self._words else None

    # -- phonemes -----------------------------------------------------------------------------------------------
    def _spell(self) -> bool:
        """Spell the words whose letters ahead are known; True if phonemes were added."""
        length = self._sentence_length()
        words = self._words[:length]
        if not words:
            self._closed = self._closed or (self._finished and not self._words)
            return False
        begins = not self._sentence
        prefix = self._sentence  # the spelled words of this sentence
        letters = " ".join([*([prefix] if prefix else []), *(w.spoken for w in words)])
        spelled = spell(letters)
        best: Tensor | None = None
        position = len(spell(prefix)) + 1 if prefix else 0
        added = False
        for word in words:
            size = len(spell(word.spoken))
            if length is None and position + size + 1 + self._adapter.spelling.reach > len(spelled):
                break
            if best is None:
                ids = torch.tensor([spelled])
                best = self._adapter.spelling(ids, torch.ones(1, len(spelled), 1))[0].argmax(-1)
            if begins and not added:
                self._phonemes.append(0)
            phonemes = self._adapter.spelling.read(best[position : position + size + 1])
            if self._sentence:
                self._phonemes.append(self._adapter.config.space)
            self._phonemes += phonemes
            self._ends.append((len(self._phonemes) - 1, word.text_end))
            self._sentence = f"{self._sentence} {word.spoken}" if self._sentence else word.spoken
            position += size + 1
            self._words.pop(0)
            length = None if length is None else length - 1
            added = True
        if length == 0:
            self._phonemes.append(0)
            self._sentence = ""
        if self._finished and not self._words:
            self._closed = True
        return added

    # -- time ---------------------------------------------------------------------------------------------------
    def _encode(self) -> None:
        """States and durations of the phonemes whose surroundings are known."""
        encoder = self._adapter.phoneme_encoder
        done, count = len(self._durations), len(self._phonemes)
        certain = count if self._closed else count - encoder.reach
        if certain <= done:
            return
        first = max(0, done - encoder.reach)
        ids = torch.tensor([self._phonemes[first:]])
        states, durations = encoder(ids, torch.ones(1, count - first, 1))
        self._states = torch.cat([self._states, states[0, done - first : certain - first]])
        for units in durations[0, done - first : certain - first].argmax(-1).tolist():
            self._durations.append(units)
            self._starts.append(self._starts[-1] + units * DURATION_UNIT_SAMPLES)

    def _lay_out(self) -> None:
        """States of the frames whose surroundings are known."""
        encoder = self._adapter.frame_encoder
        known = self._starts[-1] if self._closed else self._starts[-2] if self._durations else 0
        # the phoneme after a quarter's own is part of what it is shown
        quarters = 4 * -(-known // SAMPLES_PER_FRAME) if self._closed else known // QUARTER_SAMPLES
        certain = quarters if self._closed else quarters - encoder.reach
        done = len(self._frames)
        frames = certain // 4
        if frames <= done:
            return
        first = max(0, 4 * done - encoder.reach)
        centre = (torch.arange(first, quarters) + 0.5) * QUARTER_SAMPLES
        starts, durations = torch.tensor(self._starts[:-1]), torch.tensor(self._durations) * DURATION_UNIT_SAMPLES
        index = torch.searchsorted(starts, centre.long(), right=True) - 1
        neighbours = neighbour_states(self._states[None], index[None])
        features = _quarter_features(centre, starts[index], durations[index])[None]
        states = self._encode_quarters(neighbours, features, first, done, frames)
        self._frames = torch.cat([self._frames, states])

    def _encode_quarters(self, neighbours: Tensor, features: Tensor, first: int, done: int, frames: int) -> Tensor:
        encoder = self._adapter.frame_encoder
        lead = first % 4  # frames are joined from whole fours
        neighbours = F.pad(neighbours, (0, 0, lead, -(lead + neighbours.shape[1]) % 4))
        features = F.pad(features, (0, 0, lead, neighbours.shape[1] - features.shape[1] - lead))
        mask = torch.ones(1, neighbours.shape[1], 1)
        mask[:, :lead] = 0
        skipped = done - first // 4
        joined: Tensor = encoder(neighbours, features, mask)[0, skipped : skipped + frames - done]
        return joined

    @torch.inference_mode()
    def _plan(self) -> None:
        while self._certain_steps() < self._asked + self.AHEAD and not self._complete():
            spelled = self._spell()
            self._encode()
            self._lay_out()
            if not spelled:
                return

    def _complete(self) -> bool:
        return (
            self._closed
            and len(self._frames) * SAMPLES_PER_FRAME >= self._starts[-1]
            and (len(self._durations) == len(self._phonemes))
        )

    def _certain_steps(self) -> int:
        return len(self._frames) + (DELAY if self._complete() and len(self._frames) else 0)

    # -- what the engine asks -----------------------------------------------------------------------------------
    @property
    def available(self) -> int:
        """Decoder steps whose condition is certain."""
        self._plan()
        return self._certain_steps()

    @property
    def frames(self) -> int | None:
        """Frames of the whole answer; None while that is open. The answer takes frames + 7 steps."""
        self._plan()
        return len(self._frames) if self._complete() else None

    @property
    def backlog(self) -> int:
        """Words that wait to be spelled: how far writing is ahead of speaking."""
        return len(self._words)

    def condition(self, step: int) -> Tensor:
        """What step `step` is shown, (condition_width,); `step` must be below `available`."""
        self._asked = max(self._asked, step)
        if step >= self._certain_steps():
            raise IndexError(f"step {step} is not planned yet: {self._certain_steps()} are available")
        first, last = step - DELAY, step + 1
        window = self._frames[max(0, first) : last]
        window = F.pad(window, (0, 0, max(0, -first), max(0, last - max(len(self._frames), 0))))
        return window.flatten()

    def spoken_characters(self, frames: int) -> int:
        """How many characters of the text are spoken when `frames` frames have been played."""
        played, characters = frames * SAMPLES_PER_FRAME, 0
        for phoneme, text_end in self._ends:
            if phoneme + 1 >= len(self._starts) or self._starts[phoneme + 1] > played:
                break
            characters = text_end
        return characters


def neighbour_states(states: Tensor, index: Tensor) -> Tensor:
    """States (rows, n, width) of the phoneme before, at and after each quarter's own: (rows, quarters, 3 · width)."""
    padded = F.pad(states, (0, 0, 1, 1))
    row = torch.arange(len(states), device=states.device)[:, None]
    return torch.cat([padded[row, index], padded[row, index + 1], padded[row, index + 2]], -1)
