"""Signals that ask a process to stop, heard where it can."""

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Notes the first SIGINT or SIGTERM instead of stopping at once.

    Outside of the main thread signals cannot be caught and go their usual way.
    """
    received = []
    previous = {}

    def note(number, frame):
        received.append(number)
        for signal_number, handler in previous.items():
            signal.signal(signal_number, handler)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, note)
    except ValueError:
        previous.clear()
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
