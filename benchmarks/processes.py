"""Functions in processes of their own: none runs in memory that another one has used.

Large arrays cost more where the operating system has to supply their memory than where the process
has used it before. In one process for all, that would depend on who ran before whom.
"""

import multiprocessing
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.clock import seconds_per_call, threads


class OwnProcess:
    """A sampler for :func:`~benchmarks.clock.take_turns`: ``make(*arguments)`` is called, and the
    function that it returns runs, in a new process with as many threads as this one has now.

    ``answer`` is what the function's first call returned, as an array.

    Raises:
        Exception: what ``make`` or the first call raised.
    """

    def __init__(self, make: Callable[..., Callable[[], object]], *arguments):
        self._connection, theirs = CONTEXT.Pipe()
        number = torch.get_num_threads()
        self._process = CONTEXT.Process(
            target=_serve, args=(theirs, number, make, arguments), daemon=True
        )
        self._process.start()
        theirs.close()  # if the process dies, an EOFError tells
        self.answer = self._receive()

    def __call__(self, repeats: int) -> float:
        self._connection.send(repeats)
        return self._receive()

    def close(self) -> None:
        self._connection.close()  # which ends the process
        self._process.join()

    def _receive(self):
        received = self._connection.recv()
        if isinstance(received, Exception):
            self.close()
            raise received
        return received


def _serve(connection, number: int, make: Callable, arguments: tuple) -> None:
    with threads(number):
        try:
            function = make(*arguments)
            connection.send(np.asarray(function()))
        except Exception as error:
            connection.send(error)
            return
        while True:
            try:
                repeats = connection.recv()
            except EOFError:
                return
            connection.send(seconds_per_call(function, repeats))


# New processes are copies of one that has imported everything, and done nothing else, if the system
# can do this.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
CONTEXT = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    CONTEXT.set_forkserver_preload(["benchmarks.layers"])
