"""Signals as a request: the step in hand is finished and saved before the process goes."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Turn SIGINT, SIGTERM and SIGHUP into a number to poll; one that is ignored stays ignored.

    Yields:
        A function that gives 0, or the number of the signal that came. A second signal acts at
        once, as it would have without this. Outside the main thread, where Python delivers no
        signals, it always gives 0.
    """
    received = 0
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {}

    def request(number, frame):
        nonlocal received
        received = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:  # nohup
            continue
        before[number] = signal.signal(number, request)
    try:
        yield lambda: received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
