"""`MiniOmni`: a model with all its parts, and the simplest ways to use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from model.answer import BodyAnswer
from model.checkpoint_files import check_keys
from model.config import OmniConfig
from model.engine import Engine
from model.lm.chat import ChatPrompt
from model.lm.speculative import Drafter, DraftTable
from model.mouth import SnacDecoder
from model.network import OmniNetwork
from model.planned_answer import AdapterAnswer
from model.prepare import Prepared
from model.public_layout import from_public, public_shapes
from model.request import Event, InvalidRequest, OmniError, Request
from model.sampling import SamplingParams
from model.tts_adapter import TtsAdapter
from model.turn_end import Ending, TurnEnd
from model.vocabulary import AUDIO_LAYERS, Task


class Hearing(Protocol):
    """What was understood of an utterance."""

    @property
    def text(self) -> str: ...

    @property
    def no_speech(self) -> bool: ...

    @property
    def ending(self) -> Ending | None: ...


class Ears(Protocol):
    """Hears speech as text: (samples,) float32 at 16 kHz."""

    def hear(self, audio: np.ndarray) -> Hearing: ...


@dataclass(frozen=True)
class Tokens:
    """What was generated, before it is text and sound."""

    audio: Tensor
    """(7, steps) codes as sampled, layer shift taken off, delay still in."""
    text: Tensor
    """(steps,) ids; with audio, the end and the pads after it are in it; without, the end is not."""


@dataclass
class MiniOmni:
    """A model ready to answer. Parts that a checkpoint lacks are None, and what needs them says so."""

    config: OmniConfig
    network: OmniNetwork
    tokenizer: Tokenizer | None = None
    adapter: TtsAdapter | None = None
    mouth: SnacDecoder | None = None
    ears: Ears | None = None
    features: Callable[[np.ndarray], Tensor] | None = None
    """Encoder states (1, frames, ears_width) of (samples,) at 16 kHz, for the published route."""
    turn_end: TurnEnd | None = None
    """Tells how likely a spoken question is over."""
    name: str = "omni"
    """What the model is called, by those who choose among several."""
    draft_table: DraftTable | None = None
    """What usually follows what in its answers, for speculative decoding."""
    prompt_file: Path | None = None
    """Where the keys and values of the prompt that all conversations share are kept; None: nowhere."""
    batch_parallel: bool = True
    """Spoken questions are answered by two rows, one of them writing (paper section 3.3)."""

    def __post_init__(self) -> None:
        self.network.eval()
        if self.adapter is not None:
            self.adapter.eval()
        wants_chat = self.config.audio_route == "tts_adapter" and self.tokenizer is not None
        self.chat = self._chat(self.tokenizer) if wants_chat and self.tokenizer is not None else None

    @cached_property
    def drafter(self) -> Drafter | None:
        """Drafts answers, where a step waits for memory: a few positions take little longer than one."""
        if self.tokenizer is None or not self.network.is_large:
            return None
        return Drafter(self.tokenizer, self.draft_table)

    def _chat(self, tokenizer: Tokenizer) -> ChatPrompt:
        config = self.config
        return ChatPrompt(tokenizer, config.chat_defaults, config.chat, config.ends[0] if config.ends else None)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str = "auto",
        cache_dir: Path | None = None,
    ) -> MiniOmni:
        """Open `omni-1.5b`, `smol-omni`, a folder or hub id in the published layout or ours, or a GGUF file.

        No path, or `auto`: omni-1.5b where its weights are on this machine and memory allows, else smol-omni; the
        environment variable `OMNI_MODEL` names another default. `cache_dir` is where packed weights are kept
        (`OMNI_CACHE_DIR`, else `mini-omni` in the user's cache folder).
        `dtype` is a `torch.dtype`, or "float32", "bfloat16", "float16", "int8", "auto" (what is quick on this machine).
        Raises `CheckpointError` naming the file and key that is wrong, and what to do;
        `WeightsError` where weights are missing or the cache's disk is full.
        """
        from model.checkpoint import open_model  # its ears and codecs are heavy imports

        return open_model(path, torch.device(device), dtype, cache_dir)

    @classmethod
    def from_public(cls, config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> MiniOmni:
        """From the fields of `model_config.yaml` and the keys of `lit_model.pth`; no ears, mouth or tokenizer.

        Raises `CheckpointError` naming the key that is missing, unknown or of another shape.
        """
        settings = OmniConfig.from_public(config)
        network = OmniNetwork(settings)
        check_keys(public_shapes(settings), state_dict, Path("the state dict"))
        network.load_state_dict(from_public(state_dict, settings))
        return cls(settings, network)

    def encode_text(self, text: str) -> list[int]:
        """Token ids of plain text."""
        if self.tokenizer is None:
            raise InvalidRequest("this model was opened without a tokenizer; give it audio or token ids")
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def generate(self, request: Request) -> Iterator[Event]:
        """Answer one request: `Heard` → `TextDelta` and `AudioChunk`s → `Done`. Leaving the loop stops the work."""
        engine = Engine(self, max_slots=1)
        engine.submit(engine.prepare(request))
        while engine.busy:
            for _, event in engine.step():
                if isinstance(event, OmniError):
                    raise event
                yield event

    def generate_tokens(
        self,
        task: Task,
        audio_features: Tensor | None = None,
        text_ids: Tensor | None = None,
        batch_parallel: bool = True,
        sampling: SamplingParams | None = None,
        max_steps: int = 64,
    ) -> Tokens:
        """The tokens of one answer, at most `max_steps` steps.

        `audio_features` (1, T, ears_width) are encoder states; `text_ids` (n,) a question in tokens (for the embedded
        model, a whole prompt in tokens). Raises `InvalidRequest` when the task's input is missing.
        """
        if task.hears and audio_features is None:
            raise InvalidRequest(f"task {task.value} needs audio_features (1, T, {self.config.ears_width})")
        if not task.hears and text_ids is None:
            raise InvalidRequest(f"task {task.value} needs text_ids (n,)")
        length = (
            audio_features.shape[1] if audio_features is not None else len(text_ids if text_ids is not None else ())
        )
        omni = self if batch_parallel == self.batch_parallel else self._with(batch_parallel)
        engine = Engine(omni, max_slots=1, window=length + 3 + max_steps)
        sampling = sampling or SamplingParams(repetition_penalty=1.0)
        request = Request(sampling=sampling, max_tokens=max_steps, max_sentences=None, max_seconds=1e6)
        ids = tuple(int(i) for i in text_ids) if text_ids is not None else None
        answer = engine.begin(Prepared(request, task, text_ids=ids, features=audio_features))
        answer.max_steps = max_steps
        while engine.busy:
            for _, event in engine.step():
                if isinstance(event, OmniError):
                    raise event
        steps = answer.audio_tokens if isinstance(answer, BodyAnswer | AdapterAnswer) else []
        audio = torch.stack(steps, 1) if steps else torch.zeros(AUDIO_LAYERS, 0, dtype=torch.long)
        spoken = isinstance(answer, BodyAnswer) and task.speaks
        text = answer.text_stream if spoken and isinstance(answer, BodyAnswer) else answer.text_tokens
        return Tokens(audio, torch.tensor(text, dtype=torch.long))

    def _with(self, batch_parallel: bool) -> MiniOmni:
        from dataclasses import replace

        return replace(self, batch_parallel=batch_parallel)
