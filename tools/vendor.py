"""Renew the third-party files that the repository carries: python -m tools.vendor (needs npm).

The site must work from disk with the network off, so MathJax and the fonts lie in it, and the
tests' axe beside them. Of MathJax only what _config.yml loads is kept: TeX input, SVG output and
the MathML that screen readers use; of the fonts the Latin letters, in the weights of book.css.
"""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SITE = Path("book/_vendor")
# package: (folder, {path in the package: path in the folder})
PACKAGES = {
    "mathjax@3.2.2": (
        SITE / "mathjax",
        {
            "LICENSE": "LICENSE",
            "es5/a11y/assistive-mml.js": "a11y/assistive-mml.js",
            "es5/core.js": "core.js",
            "es5/input/tex-base.js": "input/tex-base.js",
            "es5/input/tex/extensions/ams.js": "input/tex/extensions/ams.js",
            "es5/input/tex/extensions/boldsymbol.js": "input/tex/extensions/boldsymbol.js",
            "es5/input/tex/extensions/newcommand.js": "input/tex/extensions/newcommand.js",
            "es5/output/svg.js": "output/svg.js",
            "es5/output/svg/fonts/tex.js": "output/svg/fonts/tex.js",
            "es5/startup.js": "startup.js",
        },
    ),
    "@fontsource-variable/source-serif-4@5.3.1": (
        SITE / "fonts/source-serif",
        {
            "LICENSE": "LICENSE",
            "files/source-serif-4-latin-wght-normal.woff2": "roman.woff2",
            "files/source-serif-4-latin-wght-italic.woff2": "italic.woff2",
        },
    ),
    "@fontsource-variable/source-sans-3@5.3.1": (
        SITE / "fonts/source-sans",
        {
            "LICENSE": "LICENSE",
            "files/source-sans-3-latin-wght-normal.woff2": "roman.woff2",
        },
    ),
    "@fontsource/ibm-plex-mono@5.3.0": (
        SITE / "fonts/plex-mono",
        {
            "LICENSE": "LICENSE",
            "files/ibm-plex-mono-latin-400-normal.woff2": "roman.woff2",
            "files/ibm-plex-mono-latin-400-italic.woff2": "italic.woff2",
        },
    ),
    "axe-core@4.14.1": (
        Path("tests/browser/axe"),
        {"LICENSE": "LICENSE", "axe.min.js": "axe.min.js"},
    ),
}


def main() -> None:
    for package, (folder, files) in PACKAGES.items():
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["npm", "pack", "--silent", package], cwd=place, check=True)
            (archive,) = Path(place).glob("*.tgz")
            shutil.rmtree(ROOT / folder, ignore_errors=True)
            with tarfile.open(archive) as content:
                for source, name in files.items():
                    path = ROOT / folder / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content.extractfile(f"package/{source}").read())
        print(f"{package}: {len(files)} files in {folder.as_posix()}")


if __name__ == "__main__":
    main()
