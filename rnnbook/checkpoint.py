"""Files that are whole or not there: atomic writing, and training states without pickle.

A training state is a tree of dicts, lists, tuples, numbers, strings and NumPy arrays. It becomes
one npz file: the arrays, and the rest as JSON that refers to them by number. One file, because two
could be torn apart by a kill between them.
"""

import io
import json
import os
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rnnbook.checks import check_keys, check_shape

_TREE = "tree"


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the new one, never a part.

    The content goes to a neighbor in the same folder, is forced to disk, and is then renamed,
    which the operating system does at once or not at all.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named after the writer, so that two of them never share a neighbor.
    neighbor = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(neighbor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbor, path)
    except BaseException:
        neighbor.unlink(missing_ok=True)
        raise


def save_tree(path: str | Path, tree) -> None:
    """Write a tree of dicts, lists, tuples, numbers, strings, None and arrays as one npz file.

    Raises:
        TypeError: where the tree holds anything else, before anything is written.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_encode(tree, arrays))
    named: dict[str, Any] = {str(number): array for number, array in enumerate(arrays)}
    named[_TREE] = np.frombuffer(text.encode(), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, **named)
    write_atomically(path, content.getvalue())


def load_tree(path: str | Path):
    """Read what ``save_tree`` wrote; equal to it to the last bit.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where the file is no such tree.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _decode(json.loads(arrays[_TREE].tobytes()), arrays)
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
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
    return {key: _decode(item, arrays) for key, item in content}


def check_alike(name: str, saved, like) -> None:
    """Raise ``ValueError`` unless two trees have the same keys, lengths, shapes and generators.

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
        if not np.can_cast(saved.dtype, like.dtype, "same_kind"):
            raise ValueError(f"{name} must fit the dtype {like.dtype}, got {saved.dtype}.")
