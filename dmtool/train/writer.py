"""Writing in the background: the loop hands over a job and goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Writer:
    """Does one job at a time on a thread of its own.

    `wait` returns when the job is done, or raises what went wrong in it. A job that is running
    when the interpreter ends is finished first.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._job: Future[None] | None = None

    def start(self, job: Callable[[], None]) -> None:
        """Begin a job; the one before must have been waited for."""
        assert self._job is None
        self._job = self._thread.submit(job)

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._job is not None and not self._job.done()

    def wait(self) -> None:
        """Wait for the job, if there is one."""
        job, self._job = self._job, None
        if job is not None:
            job.result()
