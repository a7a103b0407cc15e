"""Decode, predict and write at the same time, in bounded memory and in the order of the source.

Reader threads turn pictures into network inputs, two threads run the network on full batches, and
writer threads finish the results. Neither side waits for the other longer than it must, and what is
held in between is bounded in pictures and in bytes, so a million thumbnails and a folder of
100-megapixel scans both run in flat memory.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from aetool.errors import Failure, ImageError
from aetool.images.source import Source

Progress = Callable[[int, int], None]

# Each side, reading and writing, holds at most this much before it waits; one picture may exceed it
# alone.
SIDE_BYTES = 256 * 2**20
# Pictures read ahead before the engine, and with it the batch size, is known.
FIRST_AHEAD = 64
# Batches in the engine at a time, where there is more than one processor: while one waits for the
# slowest part of a layer, the other has work for the processors that are done.
AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One picture on its way through the stream.

    Args:
        index: its index in the source.
        inputs: what the network sees, float32 (h, w, c), the same shape for every picture of a run.
        payload: anything `finish` needs besides, for example the picture at full resolution.
        payload_bytes: the memory the payload holds; what bounds the number of large pictures in
            flight.
    """

    index: int
    inputs: np.ndarray
    payload: Any = None
    payload_bytes: int = 0

    @property
    def nbytes(self) -> int:
        return self.inputs.nbytes + self.payload_bytes


class Predictor(Protocol):
    """What the stream needs of an engine: rows in, rows of each output by name."""

    batch_size: int

    def predict(self, batch: np.ndarray) -> dict[str, np.ndarray]: ...


Outputs = dict[str, np.ndarray]
Load = Callable[[int], Item]


def stream(
    source: Source,
    indices: Sequence[int],
    load: Load,
    make_engine: Callable[[], Predictor],
    finish: Callable[[Item, Outputs], Any],
    *,
    take: Callable[[int, Any], None] | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Failure]:
    """Run pictures through a network and finish each result in a writer thread.

    Args:
        source: where the pictures come from; only their names are used here.
        indices: the pictures to process, in order; a `range` does.
        load: called in reader threads with an index; returns the Item. An ImageError leaves the
            picture out, and so does a MemoryError.
        make_engine: called once, in the calling thread, when the first picture has been read; never
            when none can be. What it returns is asked for AT_ONCE predictions at a time.
        finish: called in writer threads, several at a time and in no particular order, with the
            item and its row of every output. An ImageError or a MemoryError records the picture as
            failed.
        take: called in the calling thread, in input order, with a finished picture's index and what
            `finish` returned.
        progress: called in the calling thread with (pictures done or failed, pictures in all).
        workers: reader threads, and as many writer threads; by default one a processor, at most 8.

    Returns:
        The pictures left out, in input order.

    Any other exception from `load`, the engine or `finish` ends the stream and propagates, as do
    KeyboardInterrupt and SystemExit: what is being written is completed, what waits is dropped.
    """
    workers = workers or processors()
    failures: list[tuple[int, Failure]] = []
    unreadable: list[Failure] = []
    waiting: deque[tuple[Future, Item]] = deque()
    done = held = 0

    def settle() -> None:
        """Wait for the oldest write and take its outcome."""
        nonlocal done, held
        future, item = waiting.popleft()
        try:
            result = future.result()
        except ImageError as error:
            failures.append((item.index, Failure(source.name(item.index), error.message)))
        else:
            if take:
                take(item.index, result)
        done += 1
        held -= item.nbytes

    batches = predictions(source, indices, load, make_engine, unreadable, workers=workers)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="aetool-write")
    try:
        for items, outputs in batches:
            for row, item in enumerate(items):
                while waiting and held + item.nbytes > SIDE_BYTES:
                    settle()
                rows = {name: values[row] for name, values in outputs.items()}
                waiting.append((pool.submit(in_memory, finish, item, rows), item))
                held += item.nbytes
            while waiting and (len(waiting) > 2 * len(items) + workers or waiting[0][0].done()):
                settle()
            del items, item  # or the batch would be held while the next one is read
            if progress:
                progress(done + len(unreadable), len(indices))
        while waiting:
            settle()
            if progress:
                progress(done + len(unreadable), len(indices))
    finally:
        batches.close()
        pool.shutdown(wait=True, cancel_futures=True)
    return _in_order(source, indices, unreadable, failures)


def in_memory(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of one picture returns.

    Raises:
        ImageError: also for a MemoryError: other pictures are smaller, and the batch goes on.
    """
    try:
        return work(*arguments)
    except MemoryError as error:
        raise ImageError("too large for the memory") from error


def predictions(
    source: Source,
    indices: Sequence[int],
    load: Load,
    make_engine: Callable[[], Predictor],
    failures: list[Failure],
    *,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Generator[tuple[list[Item], Outputs], None, None]:
    """Yield batches of items and their outputs in input order: for results that need no writers.

    Arguments as in `stream`, but `workers` may be 0, and pictures are read in the calling thread:
    the least work where other threads do the same. Pictures that cannot be read are appended to
    `failures`, in input order. The yielded items are let go when the next batch is asked for. A
    batch is smaller than the engine's when pictures are so large that a whole one of them would not
    fit into the memory bound.
    """
    if workers is None:
        workers = processors()
    reader = _Reader(indices, load, workers) if workers else _Inline(indices, load)
    engine = None
    batch: list[Item] = []
    at_once = AT_ONCE if workers and processors() > 1 else 1
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="aetool-predict")
    under_way: deque[tuple[list[Item], Future]] = deque()
    told = 0
    try:
        while True:
            outcome = reader.take(wait=not batch and not under_way)
            if isinstance(outcome, Item):
                batch.append(outcome)
                if engine is None:
                    engine = make_engine()
                    reader.look_ahead(2 * engine.batch_size)
            elif isinstance(outcome, ImageError):
                failures.append(Failure(source.name(indices[reader.taken - 1]), outcome.message))
            elif outcome is not None:
                raise outcome
            elif not batch and not under_way:
                return
            if batch and (outcome is None or len(batch) == engine.batch_size):
                inputs = np.stack([item.inputs for item in batch])
                under_way.append((batch, pool.submit(engine.predict, inputs)))
                batch = []
                del inputs
            no_more, outcome = outcome is None, None  # at the end, or until some is let go
            full = len(under_way) == at_once
            if under_way and (full or no_more or under_way[0][1].done()):
                items, future = under_way.popleft()
                held = sum(item.nbytes for item in items)
                yield items, future.result()
                del items, future
                reader.release(held)
            settled = reader.taken - len(batch) - sum(len(items) for items, _ in under_way)
            if progress and settled > told:
                told = settled
                progress(settled, len(indices))
    finally:
        reader.stop()
        pool.shutdown(wait=True, cancel_futures=True)


class _Reader:
    """Threads that call `load` in order of the indices and keep the outcomes until they are taken.

    A thread starts on the next picture only while fewer than SIDE_BYTES are held. The oldest
    picture is always started first, so whoever waits for it while holding nothing waits for work in
    progress.
    """

    def __init__(self, indices: Sequence[int], load: Load, workers: int):
        self._indices = indices
        self._load = load
        self._changed = threading.Condition()
        self._outcomes: dict[int, Item | BaseException] = {}
        self._started = 0
        self._ahead = FIRST_AHEAD
        self._held = 0
        self._stopped = False
        self.taken = 0
        self._threads = [
            threading.Thread(target=self._read, name=f"aetool-read-{n}", daemon=True)
            for n in range(min(workers, len(indices)))
        ]
        for thread in self._threads:
            thread.start()

    def _may_start(self) -> bool:
        return self._held < SIDE_BYTES and self._started - self.taken < self._ahead

    def _read(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._stopped or self._started == len(self._indices) or self._may_start()
                    )
                )
                if self._stopped or self._started == len(self._indices):
                    return
                position = self._started
                self._started += 1
            try:
                outcome = in_memory(self._load, self._indices[position])
            except BaseException as error:  # handed to the caller, who raises it
                outcome = error
            with self._changed:
                self._outcomes[position] = outcome
                if isinstance(outcome, Item):
                    self._held += outcome.nbytes
                self._changed.notify_all()

    def take(self, *, wait: bool) -> Item | BaseException | None:
        """The next outcome in order; None at the end, or when memory must be released first.

        Args:
            wait: the caller holds nothing it could release.
        """
        with self._changed:
            if self.taken == len(self._indices):
                return None

            def stuck() -> bool:
                return not wait and self.taken == self._started and not self._may_start()

            self._changed.wait_for(lambda: self.taken in self._outcomes or stuck())
            if self.taken not in self._outcomes:
                return None
            outcome = self._outcomes.pop(self.taken)
            self.taken += 1
            self._changed.notify_all()
            return outcome

    def release(self, held: int) -> None:
        with self._changed:
            self._held -= held
            self._changed.notify_all()

    def look_ahead(self, count: int) -> None:
        with self._changed:
            self._ahead = max(self._ahead, count)
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()


class _Inline:
    """What `_Reader` does, without threads: a picture is loaded when it is taken."""

    def __init__(self, indices: Sequence[int], load: Load):
        self._indices = indices
        self._load = load
        self._held = 0
        self.taken = 0

    def take(self, *, wait: bool) -> Item | BaseException | None:
        if self.taken == len(self._indices) or (not wait and self._held >= SIDE_BYTES):
            return None
        try:
            outcome = in_memory(self._load, self._indices[self.taken])
        except ImageError as error:
            outcome = error
        self.taken += 1
        if isinstance(outcome, Item):
            self._held += outcome.nbytes
        return outcome

    def release(self, held: int) -> None:
        self._held -= held

    def look_ahead(self, count: int) -> None:
        """Nothing is read ahead."""

    def stop(self) -> None:
        """Nothing is under way."""


def _in_order(
    source: Source,
    indices: Sequence[int],
    unreadable: list[Failure],
    unwritten: list[tuple[int, Failure]],
) -> list[Failure]:
    """Merge the failures of both sides into input order."""
    if not unwritten:
        return unreadable
    by_name = {failure.path: failure for failure in unreadable}
    by_name.update((failure.path, failure) for _, failure in unwritten)
    names = (source.name(index) for index in indices)
    return [by_name[name] for name in names if name in by_name]


def processors() -> int:
    """Processors this process may use, at most 8: more readers only compete with the engine."""
    if hasattr(os, "sched_getaffinity"):
        return min(8, len(os.sched_getaffinity(0)))
    return min(8, os.cpu_count() or 1)
