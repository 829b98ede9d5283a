"""Calls that wait for a network: in order, never more than allowed, and none outlives an interruption's patience."""

from __future__ import annotations

import threading

import pytest

from adit.dicom.s3.calls import Calls


class Stopped(Exception):  # noqa: N818
    pass


def test_results_and_errors_come_back() -> None:
    calls = Calls(Stopped)
    assert calls.run(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        calls.run(lambda: 1 // 0)


def test_ahead_keeps_the_order_and_the_width() -> None:
    calls = Calls(Stopped)
    lock, running, most = threading.Lock(), 0, 0
    three = threading.Barrier(3)

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        three.wait(90)  # only three at once get past it
        with lock:
            running -= 1
        return item * 10

    assert list(calls.ahead(range(9), work, 3)) == [(item, item * 10) for item in range(9)]
    assert most == 3


def test_an_interruption_ends_calls_that_never_end_and_all_later_ones() -> None:
    calls = Calls(Stopped)
    never, begun = threading.Event(), threading.Event()
    ended: list[type[BaseException]] = []

    def work() -> None:
        begun.set()
        never.wait(60)

    def run() -> None:
        try:
            calls.run(work)
        except Exception as error:  # noqa: BLE001
            ended.append(type(error))

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(90)
    calls.interrupt()
    thread.join(90)
    assert ended == [Stopped]
    with pytest.raises(Stopped):
        calls.run(lambda: 7)
    with pytest.raises(Stopped):
        calls.wait(60)
    never.set()


def test_what_nobody_takes_any_more_is_discarded() -> None:
    calls = Calls(Stopped)
    release, discarded = threading.Event(), threading.Semaphore(0)

    def work(item: int) -> int:
        if item:
            release.wait(90)
        return item

    results = calls.ahead(range(4), work, 3, lambda item: discarded.release())
    assert next(results) == (0, 0)
    results.close()  # type: ignore[attr-defined]
    release.set()
    for _ in range(2):
        assert discarded.acquire(timeout=10)


def test_what_comes_after_an_interruption_is_discarded() -> None:
    calls = Calls(Stopped)
    release, discarded = threading.Event(), threading.Event()

    def work() -> int:
        release.wait(90)
        return 7

    future = calls.start(work, lambda result: discarded.set())
    calls.interrupt()
    with pytest.raises(Stopped):
        future.result()
    release.set()
    assert discarded.wait(90)
