"""Compiled kernels: arithmetic that is worth writing ourselves (Numba and LLVM)."""
