"""Renew the third-party files that the site carries: python -m tools.vendor (needs npm).

The site must work from disk with the network off, so MathJax lives in the repository. Only the
parts that _config.yml loads are kept: TeX input, SVG output (which needs no font files; Firefox
refuses fonts on file:// pages) and the MathML that screen readers use.
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "mathjax@3.2.2"
FILES = [
    "LICENSE",
    "es5/a11y/assistive-mml.js",
    "es5/core.js",
    "es5/input/tex-base.js",
    "es5/input/tex/extensions/ams.js",
    "es5/input/tex/extensions/boldsymbol.js",
    "es5/input/tex/extensions/newcommand.js",
    "es5/output/svg.js",
    "es5/output/svg/fonts/tex.js",
    "es5/startup.js",
]
TARGET = Path(__file__).parents[1] / "book/_vendor/mathjax"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.tgz")
        shutil.rmtree(TARGET, ignore_errors=True)
        with tarfile.open(archive) as files:
            for name in FILES:
                path = TARGET / name.removeprefix("es5/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files.extractfile(f"package/{name}").read())
    print(f"{PACKAGE}: {len(FILES)} files in {TARGET}")


if __name__ == "__main__":
    main()
