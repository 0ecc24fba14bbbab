"""Commands that measure: `python -m benchmarks NAME [--json]`. Fixed workloads, real processes, real weights."""
