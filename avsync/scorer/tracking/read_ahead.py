"""Working ahead: a generator runs in a thread of its own and waits when it is so many items ahead.

Decoding, tracking and scoring overlap this way: they spend their time in native code that lets other threads run. Order
and results are those of the plain generator; an exception arrives where the item would have been.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")
_END: Final = object()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """The same items; up to `depth` of them are made before they are asked for.

    The thread starts with the first item asked for. Closing this iterator (or dropping it) ends the thread and, in that
    thread, closes `items`.
    """
    made: queue.Queue[object] = queue.Queue(maxsize=max(1, depth))
    unwanted = threading.Event()
    worker = threading.Thread(target=_make, args=(items, made, unwanted), name="avsync-scorer-ahead", daemon=True)
    worker.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]  # the queue holds T, _END and _Failed
    finally:
        unwanted.set()
        while worker.is_alive():
            _empty(made)
            worker.join(timeout=0.05)


def _make(items: Generator[T, None, None], made: queue.Queue[object], unwanted: threading.Event) -> None:
    try:
        for item in items:
            made.put(item)
            if unwanted.is_set():
                break
        items.close()
    except BaseException as error:
        made.put(_Failed(error))
        return
    made.put(_END)


def _empty(made: queue.Queue[object]) -> None:
    try:
        while True:
            made.get_nowait()
    except queue.Empty:
        pass
