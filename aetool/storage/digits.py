"""Floats in the fewest decimal digits that give back the same float32, many at a time."""

import numpy as np

_EXACT_POWER = 22  # of ten: the largest that float64 holds exactly, up to which scaling is exact
_SURE_DIGITS = 6  # that many decimal digits always survive float32
_ALL_DIGITS = 9  # that many always tell one float32 from the next
_TIE = 1e-6  # digits that end so near to a half could be rounded either way


def shortest(value: float) -> float:
    """The number with the fewest digits that give back the same float32; itself beyond float32."""
    # NumPy finds the digits; Python's repr, unlike NumPy's, writes them alike in every version.
    with np.errstate(over="ignore"):
        short = np.float32(value)
    return float(str(short)) if np.isfinite(short) else float(value)


def shortest_all(values: np.ndarray) -> np.ndarray:
    """`shortest` of every value of an array of floats, float64 of the same shape.

    Rounds to six decimal digits, then to more where float32 needs them. Steele and White's rule
    (1990), of all numbers with the fewest digits the nearest, is not decided by rounding where two
    are as near or, at a power of two, the nearest lies outside; these few are done one by one.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        flat = values.ravel()
        single = flat.astype(np.float32)
        exact = single.astype(np.float64)
        found = np.where(np.isfinite(exact), exact, flat)
        magnitude = np.floor(np.log10(np.abs(exact)))
        scale = _SURE_DIGITS - 1 - magnitude
        open_ = np.isfinite(scale) & (np.abs(scale) <= _EXACT_POWER - _ALL_DIGITS)
    slow = np.isfinite(exact) & (exact != 0) & ~open_
    places = np.flatnonzero(open_)
    rest, power = exact[places], scale[places].astype(np.int64)
    round_numbers = np.frexp(rest)[0] == np.copysign(0.5, rest)  # powers of two
    for _ in range(_SURE_DIGITS, _ALL_DIGITS + 1):
        up, down = _powers(power)
        scaled = rest * up / down
        digits = np.rint(scaled)
        candidate = digits / up * down
        fits = candidate.astype(np.float32) == rest.astype(np.float32)
        unsure = round_numbers & (candidate != rest)
        unsure |= np.abs(np.abs(scaled - digits) - 0.5) < _TIE
        found[places[fits]] = candidate[fits]
        slow[places[unsure]] = True
        left = ~(fits | unsure)
        places, rest, power = places[left], rest[left], power[left] + 1
        round_numbers = round_numbers[left]
    slow[places] = True
    for place in np.flatnonzero(slow):
        found[place] = shortest(exact[place])
    return found.reshape(values.shape)


def _powers(power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ten to a power and to minus it, each exact, the one that would be a fraction as 1."""
    table = 10.0 ** np.arange(_EXACT_POWER + 1)
    return table[np.maximum(power, 0)], table[np.maximum(-power, 0)]
