"""Writing in the background: the loop hands over a job and goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager


class Writer:
    """Does one job at a time on a thread of its own.

    `wait` returns when all is done, or raises what went wrong first. A job that is running when the
    interpreter ends is finished before.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._jobs: list[Future[None]] = []

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job; those before must have been waited for."""
        assert not self._jobs
        self.then(job)

    def then(self, job: Callable[[], None]) -> None:
        """Do a job after those that were begun."""
        self._jobs.append(self._thread.submit(job))

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Whatever fails within it, what was begun is finished first."""
        try:
            yield
        finally:
            self.wait()

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return any(not job.done() for job in self._jobs)

    def wait(self) -> None:
        """Wait for the jobs, if there are any."""
        jobs, self._jobs = self._jobs, []
        for job in jobs:
            job.result()
