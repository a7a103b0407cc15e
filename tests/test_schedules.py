"""Learning rates by step."""

import pytest

from aetool.errors import UsageError
from aetool.training.schedules import parse_schedule, scheduled_rate


def test_cosine_warms_up_peaks_and_falls_to_a_thousandth():
    rates = [scheduled_rate("cosine", 1.0, step, 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(1 / 20) and max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) <= 21 and rates[510] == pytest.approx(0.5, abs=0.01)
    assert rates[1000] == pytest.approx(1e-3)


def test_inverse_time_is_the_first_kerass_decay():
    assert scheduled_rate("inverse-time=0.005", 0.1, 200, 0) == pytest.approx(0.05)
    assert scheduled_rate("constant", 0.1, 200, 0) == 0.1


@pytest.mark.parametrize("text", ["cosin", "cosine=3", "inverse-time=abc", "inverse-time=-1"])
def test_wrong_words_are_one_usage_error(text):
    with pytest.raises(UsageError, match=text):
        parse_schedule(text)
