"""Many floats in their fewest digits at once: the very numbers that one at a time gives."""

import numpy as np
import pytest

from aetool.storage.digits import shortest, shortest_all

RANDOM = np.random.default_rng(0)
POWERS = 2.0 ** np.arange(-149, 128)
CASES = {
    "any bits": RANDOM.integers(0, 2**32, 50_000, dtype=np.uint32).view(np.float32),
    "near one": RANDOM.standard_normal(50_000).astype(np.float32),
    "as float64": RANDOM.standard_normal(1_000),
    "few digits": np.round(RANDOM.random(20_000) * 1000, 3).astype(np.float32),
    "powers of two": POWERS.astype(np.float32),
    "beside powers of two": np.nextafter(POWERS.astype(np.float32), np.float32(0)),
    "powers of ten": np.array([float(f"1e{i}") for i in range(-45, 39)], np.float32),
    # 0.12890625 ends in the middle between two of seven digits, both of which give it back.
    "ties": (RANDOM.integers(0, 2**12, 20_000) / 2.0 ** RANDOM.integers(0, 20, 20_000)),
    "special": np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 33554450, 1e-46]),
    "none": np.empty(0, np.float32),
}


@pytest.mark.parametrize("name", CASES)
def test_all_at_once_is_one_by_one(name):
    values = CASES[name]
    one_by_one = [repr(shortest(value)) for value in values]
    assert [repr(value) for value in shortest_all(values).tolist()] == one_by_one


def test_digits_give_back_the_value_and_none_can_be_spared():
    values = CASES["near one"][:2_000]
    for value, short in zip(values, shortest_all(values), strict=True):
        assert np.float32(short) == value
        digits = len(repr(float(short)).strip("-0.").replace(".", "").split("e")[0])
        assert digits <= 6 or np.float32(f"{value:.{digits - 2}e}") != value


def test_shape_and_values_are_kept():
    values = np.float32([[0.1, 2], [1 / 3, -5e-9]])
    before = values.copy()
    assert shortest_all(values).tolist() == [[0.1, 2.0], [0.33333334, -5e-9]]
    assert np.array_equal(values, before)
    assert shortest_all(values.T).tolist() == [[0.1, 0.33333334], [2.0, -5e-9]]
