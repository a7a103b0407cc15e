"""Optimizers by name."""

import pytest

from aetool.errors import UsageError
from aetool.training.optimizers import make_optimizer


def test_arguments_reach_the_optimizer():
    optimizer = make_optimizer("sgd:momentum=0.9", 0.01)
    assert type(optimizer).__name__ == "SGD" and optimizer.momentum == 0.9
    assert float(optimizer.learning_rate) == pytest.approx(0.01)


@pytest.mark.parametrize("text", ["sdg", "sgd:momentum", "sgd:speed=1", "adam:beta_1=x"])
def test_wrong_words_are_one_usage_error(text):
    with pytest.raises(UsageError):
        make_optimizer(text, 0.1)
