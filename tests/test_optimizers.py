"""Optimizers by name, learning rates by step."""

import pytest

from aetool.errors import UsageError
from aetool.training.optimizers import make_optimizer, scheduled_rate


def test_arguments_reach_the_optimizer():
    optimizer = make_optimizer("sgd:momentum=0.9", 0.01)
    assert type(optimizer).__name__ == "SGD" and optimizer.momentum == 0.9
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("text", ["sdg", "sgd:momentum", "sgd:speed=1", "adam:beta_1=x"])
def test_wrong_words_are_one_usage_error(text):
    with pytest.raises(UsageError):
        make_optimizer(text, 0.1)


def test_cosine_warms_up_peaks_and_falls_to_a_thousandth():
    rates = [scheduled_rate("cosine", 1.0, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 20) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) <= 21 and rates[510] == pytest.approx(0.5, abs=0.01)
    assert rates[1000] == pytest.approx(1e-3)


def test_inverse_time_is_the_first_kerass_decay():
    assert scheduled_rate("inverse-time=0.005", 0.1, 200, 0) == pytest.approx(0.05)
    assert scheduled_rate("constant", 0.1, 200, 0) == 0.1
    with pytest.raises(UsageError):
        scheduled_rate("cosin", 0.1, 0, 1)
