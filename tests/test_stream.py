"""The stream with an engine that counts: order, failures, bounded memory, clean ends."""

import signal
import threading
import time

import numpy as np
import pytest

from aetool.errors import Failure, ImageError
from aetool.inference import stream as module
from aetool.inference.stream import Item, predictions, stream


class Names:
    def name(self, i):
        return f"picture {i}"


class Doubler:
    """An engine whose output is twice its input; it keeps the sizes of its batches."""

    def __init__(self, batch_size=4):
        self.batch_size = batch_size
        self.batches = []

    def predict(self, batch):
        self.batches.append(len(batch))
        return {"twice": 2 * batch}


def load(i):
    return Item(i, np.full((2, 2, 1), i, np.float32), payload=f"payload {i}")


def load_some(i):
    if i % 5 == 3:
        raise ImageError("torn")
    return load(i)


def run(indices, load=load, engine=None, finish=None, **options):
    """Results by index, and the failures."""
    done = {}

    def keep(item, outputs):
        done[item.index] = (item.payload, float(outputs["twice"][0, 0, 0]))

    failures = stream(
        Names(), indices, load, lambda: engine or Doubler(), finish or keep, **options
    )
    return done, failures


def test_every_picture_meets_its_own_result():
    done, failures = run(range(1, 30, 2), workers=3)
    assert done == {i: (f"payload {i}", 2.0 * i) for i in range(1, 30, 2)}
    assert failures == []


def test_batches_come_full_and_in_order_however_long_reading_takes():
    def load_slowly(i):
        time.sleep(0.003 * (i % 4))
        return load(i)

    seen, sizes = [], []
    for items, outputs in predictions(Names(), range(18), load_slowly, Doubler, [], workers=4):
        sizes.append(len(items))
        seen += [
            (item.index, float(row[0, 0, 0]))
            for item, row in zip(items, outputs["twice"], strict=True)
        ]
    assert seen == [(i, 2.0 * i) for i in range(18)]
    assert sizes == [4, 4, 4, 4, 2]


def test_an_unreadable_picture_is_reported_and_left_out_of_batches():
    engine = Doubler()
    done, failures = run(range(12), load_some, engine)
    assert sorted(done) == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]
    assert failures == [Failure("picture 3", "torn"), Failure("picture 8", "torn")]
    assert sorted(engine.batches) == [2, 4, 4]


def test_failures_of_reading_and_writing_merge_in_input_order():
    def finish(item, outputs):
        if item.index in (2, 9):
            raise ImageError("no room for colour")

    _, failures = run(range(12), load_some, finish=finish)
    assert [f.path for f in failures] == [f"picture {i}" for i in (2, 3, 8, 9)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_too_large_for_the_memory_is_one_failure(workers):
    def load_large(i):
        if i == 3:
            np.empty(2**60, np.uint8)  # more than any address space
        return load(i)

    def finish(item, outputs):
        if item.index == 5:
            raise MemoryError

    failures = []
    if workers:
        failures = stream(Names(), range(8), load_large, Doubler, finish, workers=workers)
        assert failures.pop() == Failure("picture 5", "too large for the memory")
    else:
        list(predictions(Names(), range(8), load_large, Doubler, failures, workers=0))
    assert failures == [Failure("picture 3", "too large for the memory")]


def test_no_engine_is_made_where_nothing_can_be_read():
    def unreadable(i):
        raise ImageError("empty file")

    def make_engine():
        raise AssertionError("made an engine")

    failures = stream(Names(), range(9), unreadable, make_engine, lambda item, outputs: None)
    assert len(failures) == 9
    assert stream(Names(), [], load, make_engine, lambda item, outputs: None) == []


def test_without_readers_the_calling_thread_reads():
    threads, failures, seen = set(), [], []

    def load_here(i):
        threads.add(threading.current_thread())
        return load_some(i)

    engine = Doubler()
    for items, outputs in predictions(
        Names(), range(12), load_here, lambda: engine, failures, workers=0
    ):
        seen += [
            (item.index, float(row[0, 0, 0]))
            for item, row in zip(items, outputs["twice"], strict=True)
        ]
    assert seen == [(i, 2.0 * i) for i in range(12) if i % 5 != 3]
    assert engine.batches == [4, 4, 2]
    assert failures == [Failure("picture 3", "torn"), Failure("picture 8", "torn")]
    assert threads == {threading.main_thread()}


def test_without_readers_large_pictures_come_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "SIDE_BYTES", 3000)

    def load_large(i):
        return Item(i, np.full((2, 2, 1), i, np.float32), payload_bytes=1000)

    engine, seen = Doubler(batch_size=8), []
    for items, _ in predictions(Names(), range(8), load_large, lambda: engine, [], workers=0):
        seen += [item.index for item in items]
    assert seen == list(range(8))
    assert engine.batches == [3, 3, 2]


def test_progress_ends_with_all_pictures_done():
    calls = []
    run(range(12), load_some, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (12, 12)
    assert calls == sorted(calls)
    calls.clear()
    for _ in predictions(
        Names(), range(12), load_some, Doubler, [], progress=lambda *call: calls.append(call)
    ):
        pass
    assert calls[-1] == (12, 12)


@pytest.mark.parametrize("where", ["load", "predict", "finish"])
def test_a_bug_stops_the_stream_and_keeps_its_type(where):
    started = []

    def bad_load(i):
        started.append(i)
        if where == "load" and i == 40:
            raise ZeroDivisionError
        return load(i)

    class Bad(Doubler):
        def predict(self, batch):
            if where == "predict":
                raise ZeroDivisionError
            return super().predict(batch)

    def finish(item, outputs):
        if where == "finish" and item.index == 5:
            raise ZeroDivisionError

    threads = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        run(range(10_000), bad_load, Bad(), finish)
    assert len(started) < 5_000
    assert threading.active_count() == threads


def test_an_interrupt_ends_it_promptly_with_whole_results():
    begun, whole = [], []

    def finish(item, outputs):
        begun.append(item.index)
        time.sleep(0.002)
        whole.append(item.index)

    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(range(1_000_000), finish=finish)
    assert time.monotonic() - started < 2
    assert sorted(begun) == sorted(whole)
    assert 10 < len(whole) < 10_000


def test_large_pictures_are_held_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "SIDE_BYTES", 10_000)
    held, most, lock = 0, 0, threading.Lock()

    def load_large(i):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return Item(i, np.zeros((2, 2, 1), np.float32), payload_bytes=3_000)

    def finish(item, outputs):
        nonlocal held
        time.sleep(0.002)
        with lock:
            held -= 1

    engine = Doubler(batch_size=32)
    run(range(60), load_large, engine, finish, workers=2)
    # Four reach the bound on either side; each of two readers may have one more in hand.
    assert held == 0 and most <= 4 + 4 + 2
    assert max(engine.batches) < 32


def test_a_picture_larger_than_the_bound_still_passes(monkeypatch):
    monkeypatch.setattr(module, "SIDE_BYTES", 10)
    done, failures = run(range(7), workers=3)
    assert len(done) == 7 and not failures


def test_two_batches_are_in_the_engine_at_a_time_and_come_in_order(monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 2)

    class Pairs(Doubler):
        """Waits until two predictions are under way; the earlier one ends later."""

        together = threading.Barrier(2)
        most = now = 0

        def predict(self, batch):
            self.now += 1
            self.most = max(self.most, self.now)
            if self.together.wait(timeout=30) == 0:
                time.sleep(0.01)
            self.now -= 1
            return super().predict(batch)

    engine = Pairs()
    batches = predictions(Names(), range(24), load, lambda: engine, [], workers=2)
    seen = [item.index for items, _ in batches for item in items]
    assert seen == list(range(24))
    assert engine.most == 2


def test_one_processor_has_one_batch_at_a_time(monkeypatch):
    monkeypatch.setattr(module, "processors", lambda: 1)

    class Lonely(Doubler):
        busy = threading.Lock()

        def predict(self, batch):
            assert self.busy.acquire(blocking=False)
            time.sleep(0.005)
            self.busy.release()
            return super().predict(batch)

    done, _ = run(range(30), engine=Lonely())
    assert len(done) == 30
