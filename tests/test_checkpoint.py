"""Files that are whole or not there, and trees that come back, or are refused."""

import math
import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnbook.checkpoint
from rnnbook.checkpoint import check_writable, load_tree, save_tree, tree_content, write_atomically


def test_a_tree_comes_back_to_the_last_bit(tmp_path):
    tree = {
        "a": [1, 0.1 + 0.2, None, True, "é", math.inf],
        0: {"t": (1, [2, (3,)]), "empty": {}, "big": 2**127 + 1},
        "arrays": [np.arange(3), np.float32([[0.1]]), np.zeros((0, 2)), np.array(7)],
        "number": np.float64(1 / 3),
    }
    save_tree(tmp_path / "tree.npz", tree)
    back = load_tree(tmp_path / "tree.npz")
    arrays, tree_arrays = back.pop("arrays"), tree.pop("arrays")
    assert back == tree
    assert isinstance(back[0]["t"][1][1], tuple)
    for array, expected in zip(arrays, tree_arrays, strict=True):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("bad", [object(), {1, 2}, np.array([object()])])
def test_what_is_no_tree_is_refused_before_writing(bad, tmp_path):
    with pytest.raises(TypeError, match="tree must hold"):
        save_tree(tmp_path / "tree.npz", {"x": bad})
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def fail(source, destination):
        raise OSError("disk full")

    monkeypatch.setattr(rnnbook.checkpoint.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("broken", ["open", "write", "fsync", "replace"])
def test_whatever_fails_no_part_is_left(broken, tmp_path, monkeypatch):
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def fail(*arguments, **keywords):
        raise KeyboardInterrupt

    content = b"new"
    if broken == "open":
        monkeypatch.setattr(rnnbook.checkpoint, "open", fail, raising=False)
    elif broken == "write":
        content = "no bytes"
    else:
        monkeypatch.setattr(rnnbook.checkpoint.os, broken, fail)
    with pytest.raises((KeyboardInterrupt, TypeError)):
        write_atomically(file, content)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no folder")
def test_file_and_folders_are_forced_to_disk_in_this_order(tmp_path, monkeypatch):
    """The content before the rename, the new name after it; folders that were made, in theirs."""
    happened = []

    def fsync(descriptor):
        found = os.fstat(descriptor)
        happened.append(found.st_ino if stat.S_ISDIR(found.st_mode) else "content")

    def replace(source, target):
        happened.append("replace")
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(rnnbook.checkpoint.os, "fsync", fsync)
    monkeypatch.setattr(rnnbook.checkpoint.os, "replace", replace)
    folder = tmp_path / "a" / "b"
    write_atomically(folder / "file", b"new")
    inodes = [path.stat().st_ino for path in (tmp_path, tmp_path / "a", folder)]
    assert sorted(happened[:2]) == sorted(inodes[:2])
    assert happened[2:] == ["content", "replace", inodes[2]]


def test_two_writers_have_two_neighbors(tmp_path, monkeypatch):
    """The same process and thread ids, as two machines have them: still other names."""
    seen = []
    monkeypatch.setattr(os, "getpid", lambda: 7)
    monkeypatch.setattr(threading, "get_ident", lambda: 7)
    monkeypatch.setattr(rnnbook.checkpoint.os, "replace", lambda source, _: seen.append(source))
    for _ in range(2):
        write_atomically(tmp_path / "file", b"new")
    assert len(set(seen)) == 2


def test_many_writers_of_one_file_do_not_meet(tmp_path):
    file = tmp_path / "file"
    errors = []

    def write(number):
        try:
            for _ in range(20):
                write_atomically(file, bytes([number]) * 50_000)
                content = file.read_bytes()
                assert content == content[:1] * 50_000
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(tmp_path.iterdir()) == [file]


KILLED = """
import os, signal, sys
from rnnbook import checkpoint
checkpoint.os.replace = lambda source, target: (print(source, flush=True), sys.stdin.read())
checkpoint.write_atomically(sys.argv[1], b"part")
"""


@pytest.mark.skipif(os.name != "posix", reason="without locks nobody knows whose a part is")
def test_a_part_is_removed_when_its_writer_was_killed_and_no_sooner(tmp_path):
    file = tmp_path / "[file]"  # a name that is a pattern
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    part = writer.stdout.readline().decode().strip()
    others = [tmp_path / "[file].mine.part", tmp_path / "other.part"]
    for other in others:
        other.touch()
    write_atomically(file, b"new")
    assert os.path.exists(part)
    writer.kill()
    writer.communicate()
    assert os.path.exists(part)
    check_writable(file)
    assert sorted(tmp_path.iterdir()) == sorted([file, *others])
    assert file.read_bytes() == b"new"


VALID = tree_content({"a": [1, None, "x"], "b": np.arange(4.0), 3: (np.int8([1, 2]), {"c": True})})


def same(first, second):
    return tree_content(first) == tree_content(second)


def refused_or(expected, content, folder):
    """Any bytes: a ValueError that names the file, or the tree as it was."""
    file = folder / "tree.npz"
    file.write_bytes(content)
    try:
        tree = load_tree(file)
    except ValueError as error:
        told = str(error)
    else:
        assert expected is not None
        assert same(tree, expected)
        return
    assert told == f"{file} must be a file of rnnbook.checkpoint, got another."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trees")


@given(content=st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_no_tree(folder, content):
    for start in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", VALID[:80]):
        refused_or(None, start + content, folder)


@given(st.integers(0, len(VALID) - 1), st.integers(1, 255))
@settings(deadline=None, max_examples=300)
def test_a_tree_with_a_byte_changed_or_its_end_missing_is_refused(folder, place, change):
    expected = load_tree_of(folder, VALID)
    changed = bytearray(VALID)
    changed[place] ^= change
    refused_or(expected, bytes(changed), folder)
    refused_or(None, VALID[:place], folder)


def load_tree_of(folder, content):
    (folder / "valid.npz").write_bytes(content)
    return load_tree(folder / "valid.npz")


JSON = [
    "[" * 100_000,
    '{"dict": [[["unhashable"], 1]]}',
    '{"array": 9}',
    '{"array": []}',
    '{"set": [["a", 1]]}',
    '{"dict": 3}',
    '{"dict": [], "tuple": []}',
    "{}",
    "nothing",
]


@pytest.mark.parametrize("text", JSON, ids=[text[:20] for text in JSON])
def test_a_file_with_another_text_is_no_tree(text, folder):
    np.savez(folder / "text.npz", tree=np.frombuffer(text.encode(), dtype=np.uint8))
    refused_or(None, (folder / "text.npz").read_bytes(), folder)


def test_an_array_larger_than_memory_is_no_tree(folder):
    """The head of an array may say what it wants."""
    before, after = b"(4,), }" + b" " * 12, b"(4" + b"0" * 12 + b",), }"
    assert len(before) == len(after)
    assert VALID.count(before) == 1
    refused_or(None, VALID.replace(before, after), folder)


def test_an_npy_a_folder_and_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match="must be a file of rnnbook"):
        load_tree(tmp_path / "a.npy")
    with pytest.raises(OSError, match="directory"):
        load_tree(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_tree(tmp_path / "none")
