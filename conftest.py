"""What holds for all tests, those of the notebooks included.

Every notebook gets one test more than it has cells: that running them stayed within the memory and
the time that tools/watch.py grants a chapter. It measures the very run that nbval makes.
"""

import os

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile

from tools.watch import MEMORY_MB, SECONDS, Watch

PATIENCE = 4  # a slower machine than the authors', with another notebook running beside
WATCH = pytest.StashKey[Watch]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # several workers: one thread each, or they fight for cores
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")


class Budget(pytest.Item):
    """The last test of a notebook."""

    def runtest(self) -> None:
        watch = self.parent.stash.get(WATCH, None)
        if watch is None:
            pytest.skip("no cell was run")
        watch.stop()
        assert watch.peak_mb < MEMORY_MB, f"the notebook held {watch.peak_mb} MB"
        assert watch.seconds < PATIENCE * SECONDS, f"the notebook ran for {watch.seconds:.0f} s"

    def reportinfo(self) -> tuple[os.PathLike, None, str]:
        return self.path, None, f"{self.path.name}: within memory and time"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    last = {item.parent: item for item in items if isinstance(item.parent, IPyNbFile)}
    for notebook, item in last.items():
        notebook.skip_compare += ("image/svg+xml",)  # as PNG: bytes differ between machines
        budget = Budget.from_parent(notebook, name="within memory and time")
        items.insert(items.index(item) + 1, budget)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item):
    yield  # nbval starts the kernel here
    notebook = item.parent
    if isinstance(item, IPyNbCell) and WATCH not in notebook.stash:
        notebook.stash[WATCH] = Watch(notebook.kernel.km.provisioner.pid)
