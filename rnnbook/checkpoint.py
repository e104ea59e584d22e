"""Files that are whole or not there: atomic writing, and training states without pickle.

A training state is a tree of dicts, lists, tuples, numbers, strings and NumPy arrays. It becomes
one npz file: the arrays, and the rest as JSON that refers to them by number. One file, because two
could be torn apart by a kill between them.
"""

import glob
import io
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from rnnbook.checks import check_keys, check_shape

try:
    import fcntl
except ModuleNotFoundError:
    _POSIX = False
else:
    _POSIX = True
_TREE = "tree"


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the new one, never a part.

    The content goes to a neighbor in the same folder, is forced to disk, and is then renamed,
    which the operating system does at once or not at all; then the folder is forced to disk too.
    Neighbors that a killed writer has left are removed, but for Windows.
    """
    path = Path(path)
    _make_folder(path.parent)
    with _neighbor(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if not _POSIX:
            file.close()  # Windows renames no open file
        os.replace(file.name, path)
    _force_folder(path.parent)


def check_writable(path: str | Path) -> None:
    """Raise ``OSError`` unless ``write_atomically`` can write there; makes the folder."""
    _make_folder(Path(path).parent)
    with _neighbor(Path(path)):
        pass


@contextmanager
def _neighbor(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside ``path`` of a name that nobody else has; gone at the end unless renamed.

    Its writer holds a lock on it, which ends with the writer, however that ends: so the ones that
    are left over can be told, and removed. They are looked for among this machine's alone.
    """
    machine = f"{path.name}.{uuid.getnode():012x}-"
    if _POSIX:
        for other in path.parent.glob(f"{glob.escape(machine)}*.part"):
            with suppress(OSError), open(other, "r+b") as left:  # its writer lives, or it is gone
                fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                other.unlink()
    file = _locked(path.with_name(f"{machine}{uuid.uuid4().hex}.part"))
    try:
        with file:
            yield file
    finally:
        Path(file.name).unlink(missing_ok=True)


def _locked(path: Path) -> IO[bytes]:
    """A new file with a lock on it."""
    while True:
        file = open(path, "xb")  # noqa: SIM115 # closed by the caller
        if not _POSIX:
            return file
        with suppress(OSError):  # there are file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():  # else it was taken for a leftover before it was locked
            return file
        file.close()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each forced to disk."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _force_folder(each.parent)


def _force_folder(folder: Path) -> None:
    """Force the names in a folder to disk, where the system can: Windows opens no folder."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save_tree(path: str | Path, tree) -> None:
    """Write a tree of dicts, lists, tuples, numbers, strings, None and arrays as one npz file.

    Raises:
        TypeError: where the tree holds anything else, before anything is written.
    """
    write_atomically(path, tree_content(tree))


def tree_content(tree) -> bytes:
    """What ``save_tree`` writes. Raises ``TypeError`` where the tree holds anything else."""
    arrays: list[np.ndarray] = []
    text = json.dumps(_encode(tree, arrays))
    named: dict[str, Any] = {str(number): array for number, array in enumerate(arrays)}
    named[_TREE] = np.frombuffer(text.encode(), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, **named)
    return content.getvalue()


def load_tree(path: str | Path):
    """Read what ``save_tree`` wrote; equal to it to the last bit.

    Raises:
        OSError: where the file is not there or cannot be read.
        ValueError: where the file is no such tree, whatever its bytes.
    """
    content = Path(path).read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _decode(json.loads(arrays[_TREE].tobytes()), arrays)
    except Exception as error:  # NumPy, zipfile and json each fail in ways of their own
        raise ValueError(f"{path} must be a file of rnnbook.checkpoint, got another.") from error


def _encode(value, arrays: list[np.ndarray]):
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("tree must hold arrays of numbers, got an array of objects.")
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        # As pairs, for JSON would turn a key 0 into "0".
        return {"dict": [[key, _encode(item, arrays)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, arrays) for item in value]}
    if isinstance(value, list):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"tree must hold numbers, strings and arrays, got {type(value).__name__}.")


def _decode(value, arrays: dict[str, np.ndarray]):
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[str(content)]
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in content)
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in content}
    raise ValueError(f"tree must hold arrays, tuples and dicts, got {kind}.")


def check_alike(name: str, saved, like) -> None:
    """Raise ``ValueError`` unless two trees agree in keys, lengths, shapes, dtypes, generators.

    Their numbers may differ, and None in ``like`` stands for anything.
    """
    if isinstance(like, dict | list | np.ndarray) and type(saved) is not type(like):
        raise ValueError(f"{name} must be a {type(like).__name__}, got {type(saved).__name__}.")
    if isinstance(like, dict):
        wanted, came = like.get("bit_generator"), saved.get("bit_generator")
        if wanted != came:
            raise ValueError(f"{name} must be the state of a {wanted} generator, got {came}.")
        check_keys(name, [str(key) for key in saved], like)
        for key, item in like.items():
            check_alike(f"{name}[{key!r}]", saved[key], item)
    elif isinstance(like, list):
        if len(saved) != len(like):
            raise ValueError(f"{name} must number {len(like)} as in this run, got {len(saved)}.")
        for number, item in enumerate(like):
            check_alike(f"{name}[{number}]", saved[number], item)
    elif isinstance(like, np.ndarray):
        check_shape(name, saved, like.shape)
        if saved.dtype != like.dtype:
            raise ValueError(f"{name} must have the dtype {like.dtype}, got {saved.dtype}.")
