"""Blocks of rows: worked on side by side, answered in order, to the same bits."""

import threading

import numpy as np
import pytest

from aetool.analysis import rows
from aetool.analysis.clustering import kmeans
from aetool.analysis.projection import principal_components
from aetool.analysis.rows import blocks, each
from aetool.errors import FormatError


@pytest.fixture
def many_blocks(monkeypatch):
    monkeypatch.setattr(rows, "BLOCK_VALUES", 1)  # 64 rows a block
    return np.random.default_rng(0).normal(size=(1000, 6)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_from_blocks_that_cover_the_rows(many_blocks, monkeypatch, threads):
    monkeypatch.setattr(rows, "THREADS", threads)
    found = list(each(lambda start, block: (start, block.copy()), many_blocks))
    assert [start for start, _ in found] == [start for start, _ in blocks(many_blocks)]
    assert len(found) == 16
    assert np.array_equal(np.concatenate([block for _, block in found]), many_blocks)


def test_two_blocks_are_under_way_at_a_time(many_blocks, monkeypatch):
    monkeypatch.setattr(rows, "THREADS", 2)
    both = threading.Barrier(2, timeout=30)
    assert len(list(each(lambda *_: both.wait(), many_blocks))) == 16


def test_the_first_block_that_fails_is_the_one_that_is_reported(many_blocks, monkeypatch):
    monkeypatch.setattr(rows, "THREADS", 4)
    many_blocks[700, 3] = np.inf
    many_blocks[100, 2] = np.nan
    with pytest.raises(FormatError, match="row 101 "):
        rows.moments(many_blocks)


def test_the_bits_do_not_depend_on_how_many_threads_there_are(many_blocks, monkeypatch):
    def answers(threads):
        monkeypatch.setattr(rows, "THREADS", threads)
        found, axes = kmeans(many_blocks, 3), principal_components(many_blocks, 2)
        return found.labels, found.centres, axes.components, axes.coordinates(many_blocks)

    for alone, together in zip(answers(1), answers(4), strict=True):
        assert np.array_equal(alone, together)


def test_what_nobody_takes_any_more_is_not_worked_on(many_blocks, monkeypatch):
    monkeypatch.setattr(rows, "THREADS", 2)
    seen = []
    results = each(lambda start, _: seen.append(start), many_blocks)
    next(results)
    results.close()
    assert len(seen) < 16
