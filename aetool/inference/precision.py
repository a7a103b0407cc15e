"""What the processor computes in. Light: no TensorFlow."""

import functools
from pathlib import Path


@functools.cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16 or AMX on x86 Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: str) -> str:
    """What "auto" stands for on this machine; other names unchanged."""
    if precision == "auto":
        return "bfloat16" if has_bfloat16() else "float32"
    return precision
