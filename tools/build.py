"""Build the book: python -m tools.build. The HTML goes to _build/html.

Built from the stored notebooks, executing nothing; every warning is an error. The pages are made in
a folder beside and take the place of the old ones only when all is well, so a failed build leaves
the last good HTML. With nothing changed, nothing is done.

Always from scratch: an incremental Sphinx build is silent about the warnings of pages that it does
not read again, and about the references that a changed page broke in them.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    from tools.chapters import ROOT, Failed, difference, read_yaml, slugs
    from tools.progress import done, progress
except ModuleNotFoundError as error:
    sys.exit(
        f"This Python does not find {error.name}: make the environment with `python "
        "tools/environment.py`, then run, in this folder, `.venv/bin/python -m tools.build` "
        "(on Windows, .venv\\Scripts\\python)."
    )

OUTPUT = ROOT / "_build" / "html"
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"
STAMP = "rnnbook.sha256"  # inside the HTML, so that it is swapped with it
INPUTS = ["_config.yml", "_toc.yml", "requirements.txt", "requirements.lock"]
FOLDERS = ["book", "notebooks", "rnnbook", "tools"]  # rnnbook: the pages quote its docstrings


def inputs() -> str:
    """A hash of everything that the pages are made from."""
    files = [ROOT / name for name in INPUTS]
    for folder in FOLDERS:
        files += sorted(p for p in (ROOT / folder).rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for path in files:
        if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def sphinx(target: Path) -> tuple[int, list[str]]:
    """Run Jupyter Book into ``target`` with a line of progress; its status and what it said."""
    options = ["--path-output", str(target), "-W", "-n", "--keep-going"]
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(ROOT), *options]
    said = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        for line in process.stdout:
            line = re.sub(r"\x1b\[[\d;]*m", "", line.rstrip())  # Jupyter Book insists on colors
            said.append(line.replace(f"{ROOT}{os.sep}", ""))
            if step := re.search(r"(\w+ \w+)\.\.\. \[ *(\d+)%\]", line):
                progress(f"{step[1]}: {step[2]} %")
    return process.returncode, said


def swap(new: Path) -> None:
    """Put the new pages where the old ones were."""
    try:
        if OUTPUT.exists():
            OUTPUT.rename(new.parent / "old")
        new.rename(OUTPUT)
    except OSError as error:  # Windows: somebody has a page open
        sys.exit(f"_build/html could not be replaced ({error}): close what uses it and try again.")


def main() -> None:
    try:
        read_yaml("_config.yml")
        reasons = [reason for slug in slugs() if (reason := difference(slug))]
    except Failed as failure:
        sys.exit(f"The book was not built: {failure}")
    for reason in reasons:
        print(f"Note: {reason}; `make notebooks` brings it up to date.", flush=True)
    stamp = inputs()
    page = (OUTPUT / "index.html").as_uri()
    if (OUTPUT / STAMP).exists() and (OUTPUT / STAMP).read_text(encoding="utf-8") == stamp:
        return print(f"Nothing has changed since the last build. Open {page}")
    print("Building the pages: about half a minute.", flush=True)
    OUTPUT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=OUTPUT.parent, prefix="making-") as folder:
        status, said = sphinx(Path(folder))
        new = Path(folder) / "_build" / "html"
        if status != 0 or not (new / "index.html").exists():
            problems = [line for line in said if re.search(r"WARNING|ERROR|Error", line)]
            ours = [line.partition("ExtensionError: ")[2] for line in problems]
            problems = [line for line in ours if line] or problems  # without their traceback
            print("\n" + "\n".join(problems or said[-20:]), file=sys.stderr)
            kept = "; the last good pages stay in _build/html" if OUTPUT.exists() else ""
            sys.exit(f"The book was not built: mend what is listed above{kept}.")
        (new / STAMP).write_text(stamp, encoding="utf-8")
        swap(new)
    done(f"The book is built. Open {page}")


if __name__ == "__main__":
    main()
