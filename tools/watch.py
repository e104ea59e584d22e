"""How much memory a process and its children hold at most, and for how long they run."""

import contextlib
import threading
import time

import psutil

MEMORY_MB = 1500  # what a chapter may hold: Binder gives 2 GB, and JupyterLab needs its share
SECONDS = 60  # what a chapter may run on two cores


class Watch:
    """Samples the memory of a process tree until it is stopped.

    Attributes:
        peak_mb: the largest sum of resident set sizes seen so far, in megabytes.
        seconds: since the start, or from start to stop.
    """

    def __init__(self, pid: int, interval: float = 0.1) -> None:
        self.process = psutil.Process(pid)
        self.interval = interval
        self.peak_mb = 0
        self.started = time.perf_counter()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)
        self.thread.start()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join()

    def _sample(self) -> None:
        while True:
            self.peak_mb = max(self.peak_mb, self._memory() // 10**6)
            if self.stopped.wait(self.interval):
                return

    def _memory(self) -> int:
        total = 0
        try:
            family = [self.process, *self.process.children(recursive=True)]
        except psutil.Error:  # it has ended
            return 0
        for process in family:
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total
