"""The package as a whole: what importing it costs, and that all of it is documented."""

import inspect
import subprocess
import sys

import rnnbook.scratch


def test_importing_it_imports_neither_torch_nor_matplotlib():
    code = "import sys, rnnbook.scratch; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_object_has_a_docstring_of_its_own():
    for name in rnnbook.scratch.__all__:
        thing = getattr(rnnbook.scratch, name)
        assert thing.__doc__, name
        if inspect.isclass(thing):
            for method, function in vars(thing).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    assert inspect.getdoc(getattr(thing, method)), f"{name}.{method}"
