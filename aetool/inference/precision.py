"""What the processor computes in. Light: no TensorFlow."""

import functools
from collections.abc import Mapping
from pathlib import Path

FAITHFUL = 50.0  # dB


@functools.cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 natively (AVX512-BF16 or AMX on x86 Linux)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(precision: str, about: Mapping | None = None) -> str:
    """What "auto" stands for on this machine; other names unchanged.

    Args:
        precision: "auto", "float32" or "bfloat16".
        about: the description of a trained model. One that was found to come out less than FAITHFUL
            dB from float32 is computed in float32.
    """
    if precision != "auto":
        return precision
    measured = (about or {}).get("fidelity")
    if measured and measured["bfloat16"] < FAITHFUL:
        return "float32"
    return "bfloat16" if has_bfloat16() else "float32"
