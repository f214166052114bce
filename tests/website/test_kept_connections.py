"""Threads and the database connections that they keep from one request to the next."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.website.harness import DEADLINE_S, Website
from website.threads import Dispatcher


class Task:
    """A task that tells which thread it ran on, and ends when it may."""

    def __init__(self, *, may_end: bool = True) -> None:
        self.begun, self.ended, self.may_end = (threading.Event() for _ in range(3))
        self.thread = ""
        if may_end:
            self.may_end.set()

    def service(self) -> None:
        """Run, as Waitress' dispatcher asks."""
        self.thread = threading.current_thread().name
        self.begun.set()
        self.may_end.wait(DEADLINE_S)
        self.ended.set()

    def cancel(self) -> None:
        """Do nothing: no task is left when the dispatcher ends."""


@contextmanager
def dispatching(*, threads: int) -> Iterator[Dispatcher]:
    """Give a dispatcher with so many threads, and see all of them end."""
    dispatcher = Dispatcher()
    dispatcher.set_thread_count(threads)
    try:
        yield dispatcher
    finally:
        dispatcher.shutdown(timeout=DEADLINE_S)
    assert not dispatcher.threads


def all_wait(dispatcher: Dispatcher, threads: int) -> None:
    """Wait until so many threads wait: one that ended may be on its way still."""
    until_s = time.monotonic() + DEADLINE_S
    while dispatcher.queue_cv.waiting < threads:
        assert time.monotonic() < until_s
        time.sleep(0.001)


def test_one_client_after_another_is_answered_by_one_thread() -> None:
    """However many have run at once before: so few connections are used, and they stay warm."""
    ran_on = set()
    with dispatching(threads=8) as dispatcher:
        for turn in range(8):
            burst = [Task(may_end=False) for _ in range(8)]
            for task in burst:
                dispatcher.add_task(task)
            assert all(task.begun.wait(DEADLINE_S) for task in burst)
            for task in burst[turn:] + burst[:turn]:  # each ends last once
                task.may_end.set()
                assert task.ended.wait(DEADLINE_S)
            for _ in range(5):
                all_wait(dispatcher, 8)
                task = Task()
                dispatcher.add_task(task)
                assert task.ended.wait(DEADLINE_S)
                ran_on.add(task.thread)

    assert len(ran_on) == 1


def test_as_many_as_there_are_threads_run_at_once() -> None:
    """No thread is forgotten, and what finds none free is taken by the first that ends."""
    tasks = [Task(may_end=False) for _ in range(8)]
    late = Task()
    with dispatching(threads=8) as dispatcher:
        for task in [*tasks, late]:
            dispatcher.add_task(task)
        at_once = [task.begun.wait(DEADLINE_S) for task in tasks]
        is_early = late.begun.is_set()
        tasks[3].may_end.set()
        is_taken = late.ended.wait(DEADLINE_S)
        for task in tasks:
            task.may_end.set()

    assert (at_once, is_early, is_taken) == ([True] * 8, False, True)
    assert len({task.thread for task in tasks}) == 8
    assert late.thread == tasks[3].thread


def test_a_connection_that_the_database_has_ended_costs_nobody_an_error(
    postgres_website: Website,
) -> None:
    """After a restart of PostgreSQL the next request opens a new one by itself."""
    with postgres_website.client() as client:
        before = client.get("bot/roles")
        postgres_website.database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'website'"
        )
        answers = [client.get("bot/roles") for _ in range(3)]

    assert [answer.status_code for answer in (before, *answers)] == [200] * 4
