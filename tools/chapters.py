"""What the chapters are, and what each one's figures and numbers depend on.

A chapter has one slug: book/SLUG.md is its text, notebooks/SLUG.ipynb the same text executed. Its
fingerprint covers all that its stored outputs depend on: its code cells, the modules of rnnbook
that they reach, the data files that these name, and the pins of the packages that they import.
"""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from jupytext.myst import MystMetadataParsingError

from rnnbook.reach import reach

ROOT = Path(__file__).resolve().parent.parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
DISTRIBUTION = {"sklearn": "scikit-learn"}  # where a package is imported by another name
COLAB_CELL = """\
# On Colab, this installs the book's library; anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    get_ipython().run_line_magic("pip", "install -q git+{url}@v{version}")"""


class Failed(Exception):
    """One sentence: what is wrong with a chapter, and where."""


def read_yaml(name: str, root: Path = ROOT) -> Any:
    """What a file of settings holds."""
    try:
        return yaml.safe_load((root / name).read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        raise no_yaml(name, error) from None


def no_yaml(name: str, error: yaml.MarkedYAMLError) -> Failed:
    mark = error.context_mark or error.problem_mark  # where it began, or where it was noticed
    return Failed(f"{name} is no valid YAML from line {mark.line + 1} on: {error.problem}.")


def pages(node: object) -> list[str]:
    """Every page named in a part of _toc.yml, in reading order, as `folder/name`."""
    if isinstance(node, list):
        return [page for item in node for page in pages(item)]
    if not isinstance(node, dict):
        return []
    own = [node[key] for key in ("root", "file") if key in node]
    return own + [page for value in node.values() for page in pages(value)]


def slugs(root: Path = ROOT) -> list[str]:
    """The chapters' slugs, in reading order: what _toc.yml has under notebooks/."""
    found = pages(read_yaml("_toc.yml", root))
    return [page.removeprefix("notebooks/") for page in found if page.startswith("notebooks/")]


def text_path(slug: str, root: Path = ROOT) -> Path:
    return root / "book" / f"{slug}.md"


def notebook_path(slug: str, root: Path = ROOT) -> Path:
    return root / "notebooks" / f"{slug}.ipynb"


def read_text(slug: str, root: Path = ROOT) -> nbformat.NotebookNode:
    """The chapter as its author wrote it: a notebook without outputs."""
    try:
        return jupytext.read(text_path(slug, root), fmt="md:myst")
    except yaml.MarkedYAMLError as error:
        raise no_yaml(f"book/{slug}.md", error) from None
    except MystMetadataParsingError as error:  # the options of a cell
        raise Failed(f"book/{slug}.md: {str(error).splitlines()[0]}.") from None


def read_notebook(slug: str, root: Path = ROOT) -> nbformat.NotebookNode | None:
    """The chapter as it is stored, or None if it was never executed."""
    path = notebook_path(slug, root)
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    remedy = "delete it, and `make notebooks` makes it anew from its text."
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        line = text.split("\n")[error.lineno - 1].strip()[:60]
        raise Failed(
            f"notebooks/{slug}.ipynb is no JSON from line {error.lineno} on ({line!r}): {remedy}"
        ) from None
    if not isinstance(content, dict) or content.get("nbformat") != 4:
        raise Failed(f"notebooks/{slug}.ipynb is no notebook of format 4: {remedy}")
    return nbformat.reads(text, as_version=4)


def colab_cell(root: Path = ROOT) -> str:
    """The first code cell of every chapter: it installs the release that the chapter belongs to.

    The repository is the one that _config.yml names, the release that of pyproject.toml.
    """
    url = read_yaml("_config.yml", root)["repository"]["url"]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return COLAB_CELL.format(url=url, version=project["version"])


def head(text: nbformat.NotebookNode, mark: dict) -> dict:
    """The metadata of a stored notebook: the text's, and nothing that names machine or versions."""
    own = {key: value for key, value in text.metadata.items() if key != "jupytext"}
    return own | {"kernelspec": KERNEL, "language_info": LANGUAGE, "rnnbook": mark}


def foreign(stored: nbformat.NotebookNode) -> bool:
    """Whether another program than tools/notebooks.py, such as JupyterLab, saved it last."""
    return "jupytext" in stored.metadata or stored.metadata.get("language_info") != LANGUAGE


def visible(cell: nbformat.NotebookNode) -> tuple:
    """What text and notebook must have in common, cell by cell."""
    return cell.cell_type, cell.source, dict(cell.metadata)


def difference(slug: str, root: Path = ROOT) -> str | None:
    """Why the stored notebook is not what the present text and code would give, or None."""
    if not text_path(slug, root).exists():
        return f"_toc.yml names notebooks/{slug}, and there is no book/{slug}.md"
    stored = read_notebook(slug, root)
    if stored is None:
        return f"notebooks/{slug}.ipynb does not exist"
    text = read_text(slug, root)
    pairs = list(zip(text.cells, stored.cells, strict=False))
    for number, (ours, theirs) in enumerate(pairs, start=1):
        if visible(ours) != visible(theirs):
            return f"cell {number} of notebooks/{slug}.ipynb is not that of book/{slug}.md"
    if len(text.cells) != len(stored.cells):
        return f"notebooks/{slug}.ipynb has {len(stored.cells)} cells, its text {len(text.cells)}"
    mark = stored.metadata.get("rnnbook", {})
    if mark.get("fingerprint") != fingerprint(text, root):
        return f"the code that notebooks/{slug}.ipynb was executed with has changed"
    if foreign(stored):
        return f"notebooks/{slug}.ipynb was saved by hand"
    if stored.metadata != head(text, mark):
        return f"the head of notebooks/{slug}.ipynb is not that of book/{slug}.md"
    return None


def without_ties(data: str) -> str:
    """Data, without what ties the results of an experiment to its code: no chapter shows that."""
    if not data.startswith("{"):
        return data
    return json.dumps({k: v for k, v in json.loads(data).items() if k not in {"code", "canary"}})


def fingerprint(notebook: nbformat.NotebookNode, root: Path = ROOT) -> str:
    """A hash of everything that the outputs of ``notebook`` depend on."""
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    modules, packages = reach("\n".join(cells), root)
    sources = {path: path.read_text(encoding="utf-8") for path in sorted(modules)}
    everything = "\n".join([*cells, *sources.values()])
    for path in sorted((root / "rnnbook").rglob("*.*")):
        if path.suffix in {".json", ".csv"} and path.stem in everything:
            sources[path] = without_ties(path.read_text(encoding="utf-8"))
    names = {DISTRIBUTION.get(package, package).lower() for package in packages}
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = sorted(line for line in lines if line.split("==")[0].lower() in names)
    parts = [*cells, *pins]
    for path, source in sources.items():
        parts += [path.relative_to(root).as_posix(), source]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
