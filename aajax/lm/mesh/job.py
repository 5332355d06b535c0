"""The end of a multi-process job in which one process fails.

A process that fails alone would leave the others waiting in a collective operation for
ever. Here it tells them through JAX's coordination service, and they end.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Iterator

import jax
from jax._src import distributed  # the key-value store of a job has no public name

FAILURE = "aajax/failure"  # key of what the first process that fails says
INTERVAL, GRACE = 1.0, 5.0  # seconds between questions; in which others fail themselves


@contextlib.contextmanager
def ended_together() -> Iterator[None]:
    """Ends all processes of the job, at once, if the block fails in one of them.

    The others print one line, which names the process, its host and its error, and exit
    with status 1. Processes that fail within some seconds of one another, as when all
    of them refuse an option, end each by itself. With one process nothing is done.
    """
    client = distributed.global_state.client
    if client is None or jax.process_count() == 1:
        yield
        return
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(client, over), daemon=True)
    watch.start()
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(Exception):  # another process was first
            client.key_value_set(FAILURE, _told(error))
        raise
    finally:
        over.set()
        watch.join()


def _told(error: BaseException) -> str:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    where = f"process {jax.process_index()} on {socket.gethostname()}"
    return f"{where} has failed ({reason or type(error).__name__})"


def _watch(client, over: threading.Event) -> None:
    """Asks for failures until the block is over, and ends the process if there is one.

    The main thread may wait in a collective operation, where nothing can interrupt it.
    """
    while not over.wait(INTERVAL):
        try:
            failure = client.key_value_try_get(FAILURE)
        except Exception:  # there is none, or nobody to ask any more
            continue
        if over.wait(GRACE):
            return
        print(f"aajax: {failure}: this process ends too", file=sys.stderr, flush=True)
        with contextlib.suppress(Exception):
            jax.distributed.shutdown()  # for which the process that failed waits
        os._exit(1)
