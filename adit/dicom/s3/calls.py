"""Runs what waits for the network in threads of its own, so that an interruption needs to wait for none of it.

Used by everything here that speaks to the server: boto3 cannot be told to stop. A call that was interrupted goes
on unheard until its time is up; what it may still write is what the next attempt would write in the same place.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Calls:
    """The calls of one node. `interrupted` makes the exception that ends them."""

    def __init__(self, interrupted: Callable[[], Exception]) -> None:
        self._interrupted = interrupted
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._open: set[Future[object]] = set()

    def run(self, work: Callable[[], Result]) -> Result:
        """What `work` returns or raises; the interruption, as soon as there is one."""
        return self.start(work).result()

    def start(
        self, work: Callable[[], Result], discard: Callable[[Result], object] = lambda result: None
    ) -> Future[Result]:
        """Begins it. `discard` gets the result that came after an interruption, and that nobody will take."""
        future: Future[Result] = Future()
        with self._lock:
            self.check()
            self._open.add(future)  # type: ignore[arg-type]  # only exceptions are put into it
        threading.Thread(target=self._work, args=(future, work, discard), name="s3-call", daemon=True).start()
        return future

    def ahead(
        self,
        items: Iterable[Item],
        work: Callable[[Item], Result],
        width: int,
        discard: Callable[[Result], object] = lambda result: None,
    ) -> Iterator[tuple[Item, Result]]:
        """Each item with its result, in order, while at most `width` are worked on or wait to be taken."""
        waiting: deque[tuple[Item, Future[Result]]] = deque()
        try:
            for item in items:
                waiting.append((item, self.start(partial(work, item), discard)))
                if len(waiting) >= width:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.add_done_callback(lambda done: None if done.exception() else discard(done.result()))

    def wait(self, seconds: float) -> None:
        """Sleeps, or raises the interruption."""
        if seconds > 0:
            self._halt.wait(seconds)
        self.check()

    def check(self) -> None:
        if self._halt.is_set():
            raise self._interrupted()

    def interrupt(self) -> None:
        with self._lock:
            self._halt.set()
            ended, self._open = self._open, set()
        for future in ended:
            try:
                future.set_exception(self._interrupted())
            except InvalidStateError:  # it has just ended by itself
                continue

    def _work(self, future: Future[Result], work: Callable[[], Result], discard: Callable[[Result], object]) -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            outcome: Callable[[], None] = partial(future.set_exception, error)
            drop: Callable[[], object] = _nothing
        else:
            outcome, drop = partial(future.set_result, result), partial(discard, result)
        with self._lock:
            self._open.discard(future)
        try:
            outcome()
        except InvalidStateError:
            drop()


def _nothing() -> None:
    return None
