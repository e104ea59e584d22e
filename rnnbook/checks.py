"""Checks at the public entrances: one sentence that names what came and what was expected.

Every function here works on NumPy arrays and on torch tensors alike, and none changes anything.
"""

from collections.abc import Collection, Sequence

import numpy as np


def check_shape(name: str, array, expected: Sequence[int | str]) -> None:
    """Raise ``ValueError`` unless ``array`` has the shape ``expected``.

    ``expected`` mixes sizes and letters, as in ``("B", "T", 3)``: a letter stands for any size of
    at least one.
    """
    shape = getattr(array, "shape", None)
    if shape is not None and len(shape) == len(expected):
        pairs = zip(shape, expected, strict=True)
        if all(size >= 1 if isinstance(want, str) else size == want for size, want in pairs):
            return
    wanted = f"({', '.join(map(str, expected))}{',' if len(expected) == 1 else ''})"
    if shape is None:
        raise ValueError(f"{name} must be an array of shape {wanted}, got {type(array).__name__}.")
    raise ValueError(f"{name} must have shape {wanted}, got {tuple(shape)}.")


def real_numbers(name: str, value, dtype) -> np.ndarray:
    """``value``, an array, list or tensor, as an array of ``dtype``; infinite what is too large.

    Raises ``ValueError`` for text, complex numbers, objects, masked arrays, sparse tensors and rows
    of unequal length. What has the right dtype already is not copied; None for ``dtype`` leaves it
    as it is, but for floats that NumPy does not know (bfloat16), which become float32.
    """
    if type(value) is np.ndarray and value.dtype == dtype and dtype is not None:
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        known = hasattr(np, str(value.dtype).removeprefix("torch."))
        value = value if known or not value.is_floating_point() else value.float()
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must not be masked: fill or drop what is masked beforehand.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} must be an array, got rows of unequal length.") from None
    except (TypeError, RuntimeError):  # a sparse tensor, a list of tensors that require gradients
        came = type(value).__name__
        raise ValueError(f"{name} must be an array, got {came} that NumPy cannot read.") from None
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} must hold real numbers, got {array.dtype}.")
    if dtype is None:
        return array
    with np.errstate(over="ignore"):
        return array.astype(dtype, copy=False)


def as_array(value):
    """A torch tensor as an array, in float32 where NumPy lacks its type (bfloat16, float8).

    The array may share the tensor's memory. Whatever is no tensor is returned as it is.
    """
    if not hasattr(value, "detach"):
        return value
    value = value.detach().cpu()
    unknown = any(name in str(value.dtype) for name in ("bfloat16", "float8"))
    return (value.float() if unknown else value).numpy()


class NotFiniteError(ValueError):
    """A number is NaN or infinite."""


def check_finite(name: str, array) -> None:
    """Raise ``NotFiniteError``, a ``ValueError``, at the first NaN or infinity in ``array``."""
    if hasattr(array, "detach"):  # a torch tensor
        array = array.detach().double().cpu().numpy()
    array = np.asarray(array)
    finite = np.isfinite(array)
    if not finite.all():
        index = tuple(map(int, np.argwhere(~finite)[0]))
        raise NotFiniteError(f"{name} must be finite, got {array[index]} at index {index}.")


def finite_series(name: str, value, dtype=np.float64) -> np.ndarray:
    """``value`` (length,) as an array of ``dtype``, in the order of its rows, whatever their index.

    Raises ``ValueError`` as ``real_numbers``, for another rank, no value, NaN and infinity.
    """
    series = real_numbers(name, value, dtype)
    check_shape(name, series, ("length",))
    check_finite(name, series)
    return series


def rounding(series) -> float:
    """What a series may vary by without saying anything: ``4 eps max(abs(series))``.

    eps is that of the series' own number type, and float64's for whole numbers.
    """
    series = real_numbers("series", series, None)
    kind = series.dtype if series.dtype.kind == "f" else np.float64
    eps = max(float(np.finfo(kind).eps), float(np.finfo(np.float64).eps))
    return 4 * eps * float(np.abs(series.astype(np.float64)).max())


def check_lengths(lengths, batch: int, steps: int) -> np.ndarray:
    """Return ``lengths`` as an integer array of shape (B,), each between 1 and T."""
    array = real_numbers("lengths", lengths, None)
    check_shape("lengths", array, (batch,))
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"lengths must be integers, got {array.dtype}.")
    wrong = np.flatnonzero((array < 1) | (array > steps))
    if len(wrong):
        b = int(wrong[0])
        raise ValueError(
            f"lengths must lie between 1 and T = {steps}, got {int(array[b])} at index {b}."
        )
    return array.astype(np.int64)


def check_bool(name: str, value) -> None:
    """Raise ``ValueError`` unless ``value`` is True or False: of text, "False" would be true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}.")


def check_positive(name: str, value) -> int:
    """``value`` as an int, whose products do not overflow as those of a NumPy integer may.

    Raises ``ValueError`` unless it is a whole number of at least one.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")
    return int(value)


def check_choice(name: str, value, choices: Collection[str]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}.")


def check_keys(name: str, given: Collection[str], expected: Collection[str]) -> None:
    """Raise ``ValueError`` unless ``given`` and ``expected`` hold the same names."""
    missing = sorted(set(expected) - set(given))
    extra = sorted(map(str, set(given) - set(expected)))
    if missing or extra:
        said = [f"is missing {', '.join(missing)}"] if missing else []
        said += [f"has the unknown {', '.join(extra)}"] if extra else []
        raise ValueError(f"{name} {' and '.join(said)}.")


def check_classes(name: str, array, classes: int) -> None:
    """Raise ``ValueError`` unless ``array`` holds whole numbers from 0 to ``classes - 1``."""
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold whole numbers, got {array.dtype}.")
    wrong = np.argwhere((array < 0) | (array >= classes))
    if len(wrong):
        index = tuple(map(int, wrong[0]))
        came = f"{int(array[index])} at index {index}"
        raise ValueError(f"{name} must lie between 0 and {classes - 1}, got {came}.")


def check_between(name: str, value, low: float, high: float) -> float:
    """``value`` as Python's number, with all its digits, for NumPy's short ones round and overflow.

    Raises ``ValueError`` unless it is a number with ``low <= value <= high``.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ValueError(f"{name} must lie between {low} and {high}, got {value!r}.")
    return value.item() if isinstance(value, np.generic) else value


def check_whole(name: str, value, low: int, high: float) -> int:
    """``value`` as an int.

    Raises ``ValueError`` unless it is a whole number with ``low <= value <= high``.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number between {low} and {high}, got {value!r}.")
    return int(value)


def check_generator(name: str, rng) -> None:
    """Raise ``ValueError`` unless ``rng`` is a ``numpy.random.Generator``."""
    if not isinstance(rng, np.random.Generator):
        raise ValueError(f"{name} must be a numpy.random.Generator, got {type(rng).__name__}.")


def generator_or_new(name: str, rng) -> np.random.Generator:
    """``rng``, or a new generator for None. Raise ``ValueError`` for anything else."""
    if rng is None:
        return np.random.default_rng()
    check_generator(name, rng)
    return rng


def check_fraction(name: str, value) -> None:
    """Raise ``ValueError`` unless ``value`` is at least 0 and below 1."""
    if not isinstance(value, int | float | np.number) or not 0 <= value < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {value!r}.")
