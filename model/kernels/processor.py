"""What the processor can do that the kernels choose by, found at start."""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache

import numba
from llvmlite import binding

_ARCH_PRCTL = 158
"""The system call's number on x86-64."""
_REQUEST_PERMISSION = 0x1023
"""`ARCH_REQ_XCOMP_PERM` (https://docs.kernel.org/arch/x86/xstate.html)."""
_TILE_DATA = 18
"""The state component that holds the tile registers."""


@cache
def host_features() -> dict[str, bool]:
    """What the processor that is compiled for can do, by LLVM's names: this one, or what `NUMBA_CPU_FEATURES` says."""
    if numba.config.CPU_FEATURES is not None:
        return {name[1:]: name[0] == "+" for name in numba.config.CPU_FEATURES.split(",") if name}
    try:
        return dict(binding.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on some systems
        return {}


def _tiles_permitted() -> bool:
    """Ask Linux for the tile registers, for all threads of this process; False where it does not give them."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    system = ctypes.CDLL(None, use_errno=True)
    return system.syscall(_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA) == 0


MANY_REGISTERS = bool(host_features().get("avx512f"))
"""There are 32 vectors of sixteen numbers: room for the sums of eight rows at once."""
VNNI = bool(host_features().get("avx512vnni"))
"""There is `vpdpbusd`, which multiplies four pairs of 8-bit integers in each of sixteen lanes."""
AMX = VNNI and all(host_features().get(name) for name in ("amx-tile", "amx-int8")) and _tiles_permitted()
"""There is `tdpbsud`, which multiplies tiles of 8-bit integers, and this process may use it."""
