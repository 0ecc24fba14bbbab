"""The language model of Mini-Omni: one table, a `transformers` decoder body, heads only where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.cache import SlotCache
from model.config import OmniConfig
from model.fused import FUSED_TYPES, FusedBody
from model.kernels.block_quantized import BlockMatrix
from model.lm.decoder_kernel import DecoderKernel
from model.lm.decoder_weights import KERNEL_TYPES, DecoderWeights, decoder_sections, packed_matrix
from model.packed import Projection, WeightFormat
from model.unset import weights_unset
from model.vocabulary import AUDIO_LAYERS, Prompt
from model.weights.gguf import GgufTensor

LARGE_MODEL_BYTES = 1 << 28
"""A packed model that reads so much for a position is large."""


class WhisperAdapter(nn.Module):
    """Encoder states → body embeddings: gated MLP without bias (paper section 3.1)."""

    def __init__(self, states: int, hidden: int, width: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(states, hidden, bias=False)
        self.fc_2 = nn.Linear(states, hidden, bias=False)
        self.proj = nn.Linear(hidden, width, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """(rows, frames, states) → (rows, frames, width)."""
        embedded: Tensor = self.proj(F.silu(self.fc_1(states)) * self.fc_2(states))
        return embedded


class Table(nn.Embedding):
    """An embedding whose rows are scaled on their way in, in the weights' own number format."""

    def __init__(self, rows: int, width: int, scale: float) -> None:
        super().__init__(rows, width)
        self.scale = scale
        self._packed: BlockMatrix | None = None

    def pack(self, matrix: BlockMatrix) -> None:
        """Read rows of a packed matrix that holds the same from now on; the table's own are let go."""
        self._packed = matrix
        self.weight = nn.Parameter(torch.empty(0, matrix.inputs), requires_grad=False)

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table (…) → (…, width)."""
        embedded = super().forward(input) if self._packed is None else self._packed.rows(input)
        return embedded if self.scale == 1 else embedded * torch.tensor(self.scale, dtype=embedded.dtype)


def build_body(config: OmniConfig, layers: int | None = None) -> nn.Module:
    """A `transformers` decoder of the configured shape, without table and final norm (kept by `OmniNetwork`)."""
    from transformers import AutoConfig, AutoModel  # a second, which the embedded model need not wait

    fields: dict[str, Any] = dict(config.body)
    rope = fields.pop("rope_theta", None)
    if rope is not None:
        fields["rope_parameters"] = {"rope_type": "default", "rope_theta": rope}
    if layers is not None:
        fields["num_hidden_layers"] = layers
        if fields.get("layer_types"):
            fields["layer_types"] = fields["layer_types"][-layers:]
    # the table is ours: a one-word vocabulary keeps transformers from making its own
    unknown = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    settings = AutoConfig.for_model(**{**fields, "vocab_size": 1, **unknown})
    kind: Any = AutoModel._model_mapping[type(settings)]
    settings._attn_implementation = "sdpa" if kind._supports_sdpa else "eager"
    body: nn.Module = AutoModel.from_config(settings)
    body.set_input_embeddings(nn.Identity())  # type: ignore[operator]
    return body


def layer_kinds(body: Any) -> list[str]:
    """How each layer attends, in `transformers`' words: `full_attention`, `sliding_attention` …"""
    kinds = getattr(body.config, "layer_types", None)
    if kinds is None:
        kinds = ["full_attention" if sliding_window(body) is None else "sliding_attention"]
    return list(kinds)


def sliding_window(body: Any) -> int | None:
    """Positions that a sliding layer sees, its own among them; None where no layer slides."""
    window = getattr(body.config, "sliding_window", None)
    return None if window is None else int(window)


def masks(body: Any, mask: Tensor, positions: Tensor) -> Tensor | dict[str, Tensor]:
    """The mask of all earlier positions (n, 1, steps, length) → what the body's layers are to see of them.

    One mask where all layers attend alike, else a mask by kind, as `transformers` takes them.
    """
    kinds, window = set(layer_kinds(body)), sliding_window(body)
    by_kind = {"full_attention": mask}
    if window is not None:
        seen = torch.arange(mask.shape[-1], device=mask.device)
        by_kind["sliding_attention"] = mask & (seen > positions[..., None] - window)[:, None]
    if body.config._attn_implementation == "eager":  # which adds the mask to its logits
        by_kind = {kind: torch.zeros(()).to(body.dtype).where(seen, -torch.inf) for kind, seen in by_kind.items()}
    if len(kinds) == 1:
        return by_kind.get(kinds.pop(), mask)
    return by_kind


class PostAdapter(nn.Module):
    """Decoder blocks after the body that predict the seven audio layers (the paper's TTS adapter, as published)."""

    def __init__(self, config: OmniConfig) -> None:
        super().__init__()
        self.body = build_body(config, config.post_adapter_layers)
        self.head = nn.Linear(config.width, AUDIO_LAYERS * config.vocabulary.layer_size, bias=False)


class OmniNetwork(nn.Module):
    """Rows of the table in, hidden states out; logits of text and audio on demand.

    State-dict keys: `table.weight`, `head.weight` (unless tied), `adapter.{fc_1,fc_2,proj}.weight`, `body.…` as
    `transformers` names a decoder (its `norm` is the final norm), `post_adapter.{body.…,head.weight}`.
    """

    def __init__(self, config: OmniConfig, body: nn.Module | None = None) -> None:
        """`body` None: one of the configured shape, whose weights are still to be set."""
        super().__init__()
        self.config = config
        vocabulary = config.vocabulary
        self.table = Table(vocabulary.size, config.width, config.embedding_scale)
        self.body = build_body(config) if body is None else body
        self.head = None if config.tied else nn.Linear(config.width, vocabulary.size, bias=False)
        self.adapter: WhisperAdapter | None = None
        if config.audio_route == "body":
            hidden = int(config.body["intermediate_size"])
            self.adapter = WhisperAdapter(config.ears_width, hidden, config.width)
        self.post_adapter = PostAdapter(config) if config.post_adapter_layers else None
        self._fused: FusedBody | DecoderKernel | None = None
        self._text_head: Projection | None = None
        self._audio_head: Projection | None = None
        self._head_tokens: Tensor | None = None
        """The tokens that the text head has rows for; None: all."""

    packed_layout: ClassVar[str] = "kernel tiles 1"
    """What the sections of `pack` mean: a packed file of another layout is made anew."""

    @staticmethod
    def pack(
        config: OmniConfig, tensors: Mapping[str, GgufTensor], spoken: np.ndarray | None = None
    ) -> Iterator[tuple[str, np.ndarray]]:
        """A language model's tensors, under the keys of `transformers`, as the kernels read them: named arrays for a
        packed file. Matrices of a GGUF kind that the kernels know are kept exactly, others are rounded to 8 bits.

        `spoken` (n,) int: the only tokens that answers may consist of, where the head is a matrix of its own.
        """
        yield from decoder_sections(config.body, tensors)
        table = packed_matrix(tensors["embed_tokens.weight"])
        yield "embed_tokens", table.data
        yield "embed_tokens.shape", table.shape
        if config.tied:
            return
        head = tensors["lm_head.weight"]
        if spoken is not None:
            head = replace(head, rows=head.rows[spoken])
            yield "lm_head.tokens", spoken.astype(np.int64)
        matrix = packed_matrix(head)
        yield "lm_head", matrix.data
        yield "lm_head.shape", matrix.shape

    @classmethod
    def from_packed(cls, config: OmniConfig, sections: Mapping[str, np.ndarray]) -> OmniNetwork:
        """A network that writes text only, over what `pack` made: nothing is copied."""
        with torch.device("meta"), weights_unset():  # a table and a head that are never filled
            network = cls(config, nn.Identity())

        def matrix(name: str) -> BlockMatrix:
            return BlockMatrix.over(sections[name], *(int(part) for part in sections[f"{name}.shape"]))

        table = matrix("embed_tokens")
        network._fused = DecoderKernel(DecoderWeights.from_sections(config.body, sections))
        network._text_head = Projection(table if config.tied else matrix("lm_head"))
        if "lm_head.tokens" in sections:
            network._head_tokens = torch.from_numpy(np.array(sections["lm_head.tokens"]))
        network.table.pack(table)
        network.head = None
        return network

    def fuse(self, weights: WeightFormat = "plain") -> None:
        """Make the body quick for serving. Its weights move into `FusedBody`: the network can no longer be saved.

        Does nothing for bodies that cannot be fused, or with a post-adapter, which reads what `FusedBody` skips.
        """
        if self._fused is not None or not self._can_fuse(KERNEL_TYPES if weights == "int8" else FUSED_TYPES):
            return
        body: Any = self.body
        heads, groups = int(body.config.num_attention_heads), int(body.config.num_key_value_heads)
        fits = DecoderKernel.fits(heads, groups, 2 * len(body.rotary_emb.inv_freq))
        if weights == "int8" and fits and DecoderWeights.holds(body):
            self._fused = DecoderKernel(DecoderWeights.from_module(body))
        else:
            self._fused = FusedBody.from_module(body, self.config, weights)
        self.body = nn.Identity()
        if weights == "plain":
            return
        vocabulary = self.config.vocabulary
        matrix = self._head_weight
        self._text_head = Projection(matrix[: vocabulary.text_size], weights=weights)
        if self.config.audio_route == "body":
            self._audio_head = Projection(matrix[vocabulary.text_size :], weights=weights)
        # only rows are read of the table from now on
        if weights == "int8" and self.head is None and len(matrix) == vocabulary.text_size:
            self.table.pack(self._text_head.blocks)
        else:
            self.table.half()
        self.head = None

    @property
    def _head_weight(self) -> Tensor:
        """(vocabulary, width); the table's own where they are tied."""
        return self.table.weight if self.head is None else self.head.weight

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.table.weight.device

    @property
    def weight_format(self) -> str:
        """How the body's matrices are held: a `WeightFormat`, or a dtype where they are plain."""
        if self._fused is not None and self._fused.format != "plain":
            return self._fused.format
        return str(self.dtype).removeprefix("torch.")

    @property
    def is_large(self) -> bool:
        """A position reads so many weights that all cores wait for memory."""
        return self.bytes_of_a_step >= LARGE_MODEL_BYTES

    @property
    def fingerprint(self) -> str:
        """Of a packed model's weights: a SHA-256 of the small ones and of the first 4 KiB of each matrix."""
        assert isinstance(self._fused, DecoderKernel)
        return self._fused.weights.fingerprint

    @property
    def bytes_of_a_step(self) -> int:
        """Bytes of weights that a position of a packed model reads; 0 where they are not packed."""
        if not isinstance(self._fused, DecoderKernel) or self._text_head is None:
            return 0
        return self._fused.nbytes + self._text_head.nbytes

    @property
    def quick_head(self) -> bool:
        """Text logits come from a matrix of their own, not from the table."""
        return self._text_head is not None

    @property
    def dtype(self) -> torch.dtype:
        """Of hidden states, keys and values."""
        return self._fused.dtype if self._fused is not None else self._head_weight.dtype

    def _can_fuse(self, types: Sequence[str]) -> bool:
        """Nothing in the decoder, which must be of one of these types, is left out: nothing slides, positions turn as
        in the first Llama."""
        if self.config.body["model_type"] not in types or self.post_adapter is not None:
            return False
        body: Any = self.body
        settings = body.config
        return (
            set(layer_kinds(body)) == {"full_attention"}
            and settings.hidden_act == "silu"
            and not getattr(settings, "mlp_bias", False)
            and settings.rope_parameters.get("rope_type") in ("default", "llama3", "linear")
            and settings.rope_parameters.get("partial_rotary_factor", 1) == 1
        )

    # -- in -------------------------------------------------------------------------------------------------------
    def embed(self, ids: Tensor) -> Tensor:
        """Rows of the table (…, 8) → their mean (…, width); (…,) text ids → their rows (…, width)."""
        embedded: Tensor = self.table(ids.to(self.device)).to(self.dtype)
        return embedded.mean(-2) if self.config.audio_route == "body" else embedded

    def embed_prompt(self, prompt: Prompt, features: Tensor | None = None) -> Tensor:
        """A prompt and, for spoken questions, the adapter's input (1, T, ears_width) → (1, positions, width)."""
        if features is None or prompt.features_at is None:
            return self.embed(prompt.ids)[None]
        assert self.adapter is not None, "only the published route reads encoder states"
        rows = self.table(prompt.ids.to(self.device)).to(self.dtype, copy=True)
        heard = self.adapter(features.to(rows))[0]
        rows[prompt.features_at : prompt.features_at + len(heard), :AUDIO_LAYERS] = heard[:, None]
        return rows.mean(-2)[None]

    # -- through --------------------------------------------------------------------------------------------------
    def new_cache(self, slots: int, window: int) -> SlotCache:
        """Keys and values for `slots` sequences of up to `window` positions, the post-adapter's layers counted in."""
        body = self.config.body
        heads = int(body["num_attention_heads"])
        return SlotCache(
            layers=int(body["num_hidden_layers"]) + self.config.post_adapter_layers,
            slots=slots,
            heads=int(body.get("num_key_value_heads") or heads),
            window=window,
            head_dim=int(body.get("head_dim") or self.config.width // heads),
            like=torch.zeros((), dtype=self._fused.cache_dtype if self._fused else self.dtype, device=self.device),
        )

    def forward(self, embedded: Tensor, positions: Tensor, rows: Tensor, cache: SlotCache) -> Tensor:
        """(n, steps, width) at `positions` (n, steps) of cache rows (n,) → normed hidden states (n, steps, width).

        With a post-adapter, its hidden states come after the body's in the last dimension.
        """
        if self._fused is not None:
            return self._fused(embedded, positions, rows, cache)
        from model.body_cache import BodyCache

        mask = masks(self.body, cache.select(rows, positions), positions)
        if self.post_adapter is None:
            return self._run(self.body, embedded, positions, mask, BodyCache(cache))
        before_norm: list[Tensor] = []
        norm: nn.Module = self.body.norm  # type: ignore[assignment]
        hook = norm.register_forward_pre_hook(lambda _, inputs: before_norm.append(inputs[0]))
        try:
            hidden = self._run(self.body, embedded, positions, mask, BodyCache(cache))
        finally:
            hook.remove()
        shifted = BodyCache(cache, int(self.config.body["num_hidden_layers"]))
        spoken = self._run(self.post_adapter.body, before_norm[0], positions, mask, shifted)
        return torch.cat([hidden, spoken], -1)

    @staticmethod
    def _run(body: nn.Module, embedded: Tensor, positions: Tensor, mask: Any, cache: Any) -> Tensor:
        out = body(inputs_embeds=embedded, attention_mask=mask, position_ids=positions, cache=cache, use_cache=True)
        hidden: Tensor = out.last_hidden_state
        return hidden

    # -- out ------------------------------------------------------------------------------------------------------
    def text_logits(self, hidden: Tensor) -> Tensor:
        """(…, width) → (…, text_size), float32."""
        if self._text_head is not None:
            logits = self._text_head(hidden).float()
            if self._head_tokens is not None:
                found, size = logits, (*logits.shape[:-1], self.config.vocabulary.text_size)
                logits = found.new_full(size, -torch.inf)
                logits[..., self._head_tokens] = found
        else:
            head = self._head_weight[: self.config.vocabulary.text_size]
            logits = F.linear(hidden[..., : self.config.width], head).float()
        return self._as_the_body_says(logits)

    def _as_the_body_says(self, logits: Tensor) -> Tensor:
        """What the body does to its logits after the head; when it answers, its ends are one."""
        config = self.config
        if config.logit_scale != 1:
            logits = logits * config.logit_scale
        if config.logit_softcap is not None:
            logits = (logits / config.logit_softcap).tanh() * config.logit_softcap
        if len(config.ends) > 1 and not self.training:
            first, *others = config.ends
            logits = logits.clone()
            logits[..., first] = logits[..., list(config.ends)].amax(-1)
            logits[..., others] = -torch.inf
        return logits

    def audio_logits(self, hidden: Tensor) -> Tensor:
        """(…, width) → (…, 7, layer_size), float32."""
        vocabulary = self.config.vocabulary
        if self.post_adapter is not None:
            logits = self.post_adapter.head(hidden[..., self.config.width :])
        elif self._audio_head is not None:
            logits = self._audio_head(hidden)
        else:
            logits = F.linear(hidden, self._head_weight[vocabulary.text_size :])
        split: Tensor = logits.unflatten(-1, (AUDIO_LAYERS, vocabulary.layer_size)).float()
        return split
