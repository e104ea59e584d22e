"""Bring the notebooks up to date with their text: python -m tools.notebooks [SLUG ...]

One way, from book/SLUG.md to notebooks/SLUG.ipynb. A chapter is executed only if its fingerprint
changed (see tools/chapters.py); if only its prose or its tags did, the stored outputs stay. A
notebook that fails leaves the stored one as it was.
"""

import hashlib
import os
import sys
from pathlib import Path

try:
    import nbclient
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel

    from tools.chapters import (
        KERNEL,
        ROOT,
        Failed,
        colab_cell,
        difference,
        fingerprint,
        foreign,
        head,
        notebook_path,
        read_notebook,
        read_text,
        slugs,
        text_path,
    )
    from tools.progress import done, progress
    from tools.watch import Watch
except ModuleNotFoundError as error:
    sys.exit(
        f"This Python does not find {error.name}: make the environment with `python "
        "tools/environment.py`, then run, in this folder, `.venv/bin/python -m tools.notebooks` "
        "(on Windows, .venv\\Scripts\\python)."
    )

from rnnbook.checkpoint import write_atomically

CELL_SECONDS = 600
# One thread, as the tests give each notebook: networks of this size gain nothing from more.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")


def update(slug: str, root: Path = ROOT) -> str:
    """Bring one chapter's notebook up to date and say what was done."""
    reason = difference(slug, root)
    if reason is None:
        return "up to date"
    if not text_path(slug, root).exists():
        raise Failed(f"{reason}.")
    text = read_text(slug, root)
    check(text, slug, root)
    stored = read_notebook(slug, root)
    mark = {"fingerprint": fingerprint(text, root)}
    old = stored.metadata.get("rnnbook", {}) if stored else {}
    if old.get("fingerprint") == mark["fingerprint"] and not foreign(stored):
        keep_outputs(text, stored)
        mark, outcome = old, "text updated, outputs kept"
    else:
        watch = execute(text, slug, root)
        mark |= {"seconds": round(watch.seconds), "peak_mb": round(watch.peak_mb, -1)}
        outcome = f"executed in {mark['seconds']} s with {mark['peak_mb']} MB"
    clean(text, mark, root)
    write(text, notebook_path(slug, root))
    return outcome


def check(text: nbformat.NotebookNode, slug: str, root: Path) -> None:
    """What must hold before a chapter is worth executing."""
    kernel = text.metadata.get("kernelspec", {}).get("name")
    if kernel != KERNEL["name"]:
        raise Failed(
            f"book/{slug}.md asks for the kernel {kernel!r}: "
            f"write `name: {KERNEL['name']}` in its head, the name that every Jupyter knows."
        )
    first = next((cell for cell in text.cells if cell.cell_type == "code"), None)
    if first is None or first.source != colab_cell(root):
        raise Failed(
            f"The first code cell of book/{slug}.md is not the one that installs rnnbook on Colab "
            f"from the repository named in _config.yml: make it\n\n{colab_cell(root)}\n"
        )


def keep_outputs(text: nbformat.NotebookNode, stored: nbformat.NotebookNode) -> None:
    """Take the outputs of ``stored``, whose code cells have the same sources in the same order."""
    code = [[c for c in book.cells if c.cell_type == "code"] for book in (text, stored)]
    for new, old in zip(*code, strict=True):
        new.outputs, new.execution_count = old.outputs, old.execution_count


def execute(book: nbformat.NotebookNode, slug: str, root: Path) -> Watch:
    """Run all cells in place, as a reader's Jupyter would."""
    count = len(book.cells)

    def show(cell: nbformat.NotebookNode, cell_index: int) -> None:
        progress(f"{slug}: cell {cell_index + 1} of {count}")

    client = nbclient.NotebookClient(
        book,
        timeout=CELL_SECONDS,
        kernel_name=KERNEL["name"],
        resources={"metadata": {"path": str(notebook_path(slug, root).parent)}},
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],  # not every kernel's word on its own transport
        on_cell_start=show,
    )
    notebook_path(slug, root).parent.mkdir(exist_ok=True)
    try:
        with client.setup_kernel():
            watch = Watch(client.km.provisioner.pid)
            for index, cell in enumerate(book.cells):
                client.execute_cell(cell, index)
            watch.stop()
    except nbclient.exceptions.CellExecutionError as error:
        print(f"\n{error.traceback}", file=sys.stderr)
        what = f"{error.ename}: {error.evalue}".rstrip(":. ")
        raise Failed(f"Cell {index + 1} of book/{slug}.md raised {what}.") from None
    except (nbclient.exceptions.CellTimeoutError, nbclient.exceptions.DeadKernelError) as error:
        raise Failed(f"Cell {index + 1} of book/{slug}.md did not finish: {error}") from None
    except NoSuchKernel:
        raise Failed(
            f"No kernel named {KERNEL['name']!r}: `python tools/environment.py` installs it."
        ) from None
    return watch


def clean(book: nbformat.NotebookNode, mark: dict, root: Path) -> None:
    """Leave in the notebook nothing that names the machine, the versions or the hour."""
    book.metadata = nbformat.from_dict(head(book, mark))
    seen: dict[str, int] = {}
    for cell in book.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                output.traceback = [t.replace(f"{root}{os.sep}", "") for t in output.traceback]


def write(book: nbformat.NotebookNode, path: Path) -> None:
    """Replace the stored notebook in one step."""
    nbformat.validate(book)
    write_atomically(path, (nbformat.writes(book) + "\n").encode())


def main(chosen: list[str]) -> None:
    place = "_toc.yml"
    try:
        known = slugs()
        if unknown := [slug for slug in chosen if slug not in known]:
            sys.exit(f"No chapter {unknown[0]!r} in _toc.yml, which has: {', '.join(known)}.")
        chosen = chosen or known
        for number, slug in enumerate(chosen, 1):
            place = f"[{number}/{len(chosen)}] {slug}"
            progress(place)
            done(f"{place}: {update(slug)}")
    except Failed as failure:
        done(f"{place}: failed")
        sys.exit(f"{failure} The stored notebook is as it was.")


if __name__ == "__main__":
    main(sys.argv[1:])
