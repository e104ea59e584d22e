"""The tests themselves: where they can be collected, and what no system but one would know."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FILES = [path for path in ROOT.joinpath("tests").rglob("*.py") if path.name != Path(__file__).name]
HIDE = """
import sys

NEEDED_BY_SOME = '''
    torch keras onnx joblib threadpoolctl filelock distributed sklearn statsmodels skforecast pandas
    scipy matplotlib tqdm safetensors jupytext nbclient yaml playwright mypy
'''.split()

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NEEDED_BY_SOME:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
"""


def test_every_file_is_collected_or_skipped_where_only_numpy_is(tmp_path):
    """What a file needs beyond NumPy it asks for by ``optional`` or ``importorskip``."""
    (tmp_path / "hide_packages.py").write_text(HIDE)
    path = os.pathsep.join([str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")])
    options = ["-q", "--collect-only", "-p", "hide_packages", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    collected = set(re.findall(r"^tests/(?:browser/)?(test_\w+)\.py::", done.stdout, re.MULTILINE))
    assert collected >= {"test_lstm", "test_layer", "test_optim", "test_losses", "test_train"}


@pytest.mark.parametrize(
    "word",
    [
        r"(?<!\")signal\.SIGKILL",  # use getattr(signal, "SIGKILL", signal.SIGTERM)
        r"os\.kill\([^,]+, 0\)",  # on Windows that ends a process: psutil.pid_exists
        r"os\.(killpg|fork|getuid|geteuid|setsid)\b",
        r"start_new_session",
        r"[\"'/]/tmp\b",  # tmp_path
        r"\bimport (resource|fcntl|pwd|grp)\b",
    ],
)
def test_no_test_asks_for_what_windows_has_not(word):
    found = [path.name for path in FILES if re.search(word, path.read_text(encoding="utf-8"))]
    assert found == []
