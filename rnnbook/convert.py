"""Weights on their way between libraries, and to and from files.

This library keeps torch's names, shapes and gate order everywhere, so ``rnnbook.scratch``,
``rnnbook.pytorch`` and ``torch.nn`` exchange weights by name (:func:`copy_weights`). Keras and ONNX
order the blocks of their matrices differently:

    kind                 here, torch, cuDNN    Keras      ONNX          one letter each for
    RNN                  h                     h          h             the only block
    LSTM                 i f g o               i f g o    i o f g       g is c in Keras and ONNX
    GRU, ResetBeforeGRU  r z n                 z r n      z r n         n is h in Keras and ONNX

    matrices act on      columns: W x          rows: x W  columns: W x
    biases               two                   one; two for GRU(reset_after=True)   two, in one row
    GRU                  reset after           reset_after=True           linear_before_reset=1
    ResetBeforeGRU       reset before          reset_after=False          linear_before_reset=0
    h_t                  (1 - z) n + z h_{t-1} in all of them; papers: see flip_update_gate

``params`` is always a dict name -> NumPy array with the names of ``torch.nn``. A layer without bias
is one whose biases are zero: either may stand for the other. NumPy is all that this module needs;
torch and safetensors are imported only when asked for.
"""

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rnnbook.checkpoint import write_atomically
from rnnbook.checks import as_array, check_choice, check_finite, check_keys, check_shape
from rnnbook.extras import needed

ORDERS = {
    "RNN": {"torch": "h", "keras": "h", "onnx": "h"},
    "LSTM": {"torch": "ifgo", "keras": "ifgo", "onnx": "iofg"},
    "GRU": {"torch": "rzn", "keras": "zrn", "onnx": "zrn"},
    "ResetBeforeGRU": {"torch": "rzn", "keras": "zrn", "onnx": "zrn"},
}
KINDS = tuple(ORDERS)
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Params = dict[str, np.ndarray]


# Between models ------------------------------------------------------------------------------


def get_params(model) -> Params:
    """A copy of all weights of a ``rnnbook.scratch`` layer or model, or of a torch module.

    Weights in bfloat16, which NumPy lacks, come as float32.
    """
    if _is_torch(model):
        return {name: as_array(t).copy() for name, t in model.state_dict().items()}
    return {name: array.copy() for name, array in model.params.items()}


def set_params(model, params: Mapping[str, np.ndarray]) -> None:
    """Copy ``params`` into a ``rnnbook.scratch`` layer or model, or into a torch module.

    The arrays take the model's dtype. Raises ``ValueError`` that names what is missing, unknown, of
    another shape, no number or, in that dtype, not finite; the model is then as it was. Biases of
    zeros are no news to a layer without bias, and left out.
    """
    _check_names("params", params)
    own = model.state_dict() if _is_torch(model) else model.params
    params = {name: v for name, v in params.items() if not _without_effect(name, v, own)}
    if not _is_torch(model):
        model.load_params(params)
        return
    import torch

    check_keys("params", params, own)
    tensors = {}
    for name, value in params.items():
        check_shape(name, value, own[name].shape)
        tensors[name] = _as_tensor(name, value, own[name])
    # state_dict's tensors share the memory of the parameters
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def copy_weights(source, target) -> None:
    """``set_params(target, get_params(source))``: from any of the two families to any.

    ``source`` and ``target`` are layers or models of ``rnnbook.scratch``, ``rnnbook.pytorch`` or
    ``torch.nn``. Where a layer of ``source`` has no bias, that of ``target`` becomes zero. Raises
    as :func:`set_params`.
    """
    params = get_params(source)
    for name, array in get_params(target).items():
        if name not in params and _weight_of(name, params):
            params[name] = np.zeros_like(array)
    set_params(target, params)


def _weight_of(name: str, params: Mapping[str, Any]) -> bool:
    """Whether ``name`` is a bias, and its layer's weight is in ``params``."""
    prefix, dot, last = name.rpartition(".")
    return last.startswith("bias") and prefix + dot + last.replace("bias", "weight", 1) in params


def _is_torch(model) -> bool:
    torch = sys.modules.get("torch")  # a torch module cannot exist before torch is imported
    return torch is not None and isinstance(model, torch.nn.Module)


def _without_effect(name: str, value, own: Mapping[str, Any]) -> bool:
    """Whether ``value`` is a bias of zeros and its layer, in ``own``, has none."""
    if name in own or not _weight_of(name, own):
        return False
    _check_numbers(name, value)
    return not value.any()


def _as_tensor(name: str, value, like):
    """``value``, an array or a tensor, with the dtype of the tensor ``like`` and where it is.

    Raises ``ValueError`` where it is no number or not finite, before or after.
    """
    import torch

    if not isinstance(value, torch.Tensor):
        _check_numbers(name, value := np.asarray(value))
        # torch has neither all of NumPy's dtypes nor its byte orders and negative strides
        wide = {"f": np.float64, "c": np.complex128}.get(value.dtype.kind, np.int64)
        value = torch.from_numpy(value.astype(wide, order="C"))
    if value.is_complex() and not like.is_complex():
        raise ValueError(f"{name} must hold real numbers, got complex ones.")
    for tensor in (value, cast := value.detach().to(like)):
        check_finite(name, tensor.abs() if tensor.is_complex() else tensor)
    return cast


def _check_names(name: str, params: Mapping[str, np.ndarray]) -> None:
    if not isinstance(params, Mapping):
        raise ValueError(f"{name} must be a dict of arrays, got {type(params).__name__}.")
    for key in params:
        if not isinstance(key, str):
            raise ValueError(f"{name} must have strings as keys, got {key!r}.")


def _check_numbers(name: str, array) -> None:
    dtype = getattr(array, "dtype", None)
    # a tensor's dtype has no kind: all of torch's are numbers
    if dtype is None or getattr(dtype, "kind", "f") not in "biufc":
        came = type(array).__name__ if dtype is None else f"dtype {dtype}"
        raise ValueError(f"{name} must be an array of numbers, got {came}.")


# Gate orders and the papers' GRU -------------------------------------------------------------


def reorder(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """The blocks of ``array`` (G * H, ...), which lie in the order ``source``, as in ``target``.

    For instance ``reorder(weight, "ifgo", "iofg")`` for an LSTM on its way to ONNX. Raises
    ``ValueError`` when the orders do not hold the same letters or do not divide the rows.
    """
    if sorted(source) != sorted(target):
        raise ValueError(f"target must hold the letters of {source!r}, got {target!r}.")
    if len(array) % len(source):
        raise ValueError(f"array must have a multiple of {len(source)} rows, got {len(array)}.")
    blocks = dict(zip(source, np.split(array, len(source)), strict=True))
    return np.concatenate([blocks[letter] for letter in target])


def flip_update_gate(params: Mapping[str, np.ndarray]) -> Params:
    """A GRU's weights for the other role of its update gate; its own inverse.

    Cho et al. (2014), torch, Keras and ONNX let z keep the old state, Chung et al. (2014) let it
    take the new one:

        h_t = (1 - z) * n + z * h_{t-1}        h_t = (1 - z) * h_{t-1} + z * n

    As sigmoid(-a) = 1 - sigmoid(a), changing the sign of all that leads to z goes from one to the
    other. For GRU and ResetBeforeGRU alike. Raises ``ValueError`` for other weights.
    """
    directions(params, "GRU")
    sign = np.array([1, -1, 1])  # r, z, n
    return {
        name: (array.reshape(3, -1) * sign[:, None]).astype(array.dtype).reshape(array.shape)
        for name, array in params.items()
    }


# Keras ---------------------------------------------------------------------------------------


def to_keras(params: Mapping[str, np.ndarray], kind: str) -> list[list[np.ndarray]]:
    """The weights of a stack of Keras layers: for each, the list that ``set_weights`` takes.

    ``kind`` is "RNN" (Keras: SimpleRNN), "LSTM", "GRU" (reset_after=True) or "ResetBeforeGRU"
    (GRU with reset_after=False). A layer has ``kernel`` (D, G * H), ``recurrent_kernel``
    (H, G * H), and ``bias``: (G * H), or (2, 3H) for "GRU"; one of two directions
    (``Bidirectional``) has the forward direction's three, then the backward one's. The two biases
    become their sum where Keras has but one; without biases (``use_bias=False``) there is no
    ``bias``. Raises ``ValueError`` as :func:`directions`.
    """
    order = _order(kind, "torch", "keras")
    layers = []
    for suffixes in directions(params, kind):
        weights = []
        for suffix in suffixes:
            w_ih, w_hh, *biases = (
                reorder(params[name + suffix], *order) for name in NAMES if name + suffix in params
            )
            weights += [np.ascontiguousarray(w_ih.T), np.ascontiguousarray(w_hh.T)]
            if biases:
                weights.append(np.stack(biases) if kind == "GRU" else biases[0] + biases[1])
        layers.append(weights)
    return layers


def from_keras(
    layers: Sequence[Sequence[np.ndarray]], kind: str, *, bidirectional: bool | None = None
) -> Params:
    """The inverse of :func:`to_keras`, up to how the sum of two biases is shared.

    ``layers`` holds what ``get_weights`` returned for each layer of the stack. Keras's one bias
    becomes ``bias_ih``, with zeros for ``bias_hh``; without bias (``use_bias=False``) both are
    zero. ``bidirectional`` need only be said where the arrays do not: those of two directions of a
    single layer with D = H might as well be two layers in one list. Raises ``ValueError`` there,
    and for a wrong number of arrays or a wrong shape, naming the layer.
    """
    order = _order(kind, "keras", "torch")
    blocks = len(order[0])
    params: Params = {}
    for k, weights in enumerate(layers):
        if hasattr(weights, "shape"):
            raise ValueError(f"layers[{k}] must be a list of one layer's arrays, got an array.")
        if len(weights) not in (2, 3, 4, 6):
            raise ValueError(
                f"layers[{k}] must hold 2 or 3 arrays, or twice as many for two directions, "
                f"got {len(weights)}."
            )
        two = len(weights) > 3
        if two:
            _check_two_directions(layers, k, bidirectional)
        elif bidirectional:
            raise ValueError(f"layers[{k}] must hold two directions, got {len(weights)} arrays.")
        count = len(weights) // 2 if two else len(weights)
        for direction, start in enumerate(range(0, len(weights), count)):
            kernel, recurrent, *biases = (np.asarray(w) for w in weights[start : start + count])
            check_shape(f"layers[{k}] recurrent_kernel", recurrent, ("H", "G * H"))
            hidden = len(recurrent)
            rows = blocks * hidden
            check_shape(f"layers[{k}] recurrent_kernel", recurrent, (hidden, rows))
            check_shape(f"layers[{k}] kernel", kernel, ("D", rows))
            shape = (2, rows) if kind == "GRU" else (rows,)
            bias = biases[0] if biases else np.zeros(shape, kernel.dtype)
            check_shape(f"layers[{k}] bias", bias, shape)
            b_ih, b_hh = bias if kind == "GRU" else (bias, np.zeros_like(bias))
            suffix = f"_l{k}{'_reverse' * direction}"
            params["weight_ih" + suffix] = reorder(kernel.T, *order)
            params["weight_hh" + suffix] = reorder(recurrent.T, *order)
            params["bias_ih" + suffix] = reorder(b_ih, *order)
            params["bias_hh" + suffix] = reorder(b_hh, *order)
    directions(params, kind)
    return params


def _check_two_directions(layers, k: int, bidirectional: bool | None) -> None:
    """Raise ``ValueError`` where the arrays of ``layers[k]`` are, or may be, two layers'."""
    weights = layers[k]
    kernel, recurrent = np.shape(weights[0]), np.shape(weights[1])
    other = np.shape(weights[len(weights) // 2])
    if bidirectional is False or kernel != other:
        raise ValueError(
            f"layers[{k}] must hold one layer, got {len(weights)} arrays with kernels of shape "
            f"{kernel} and {other}: each layer of a stack has a list of its own."
        )
    if bidirectional is None and len(layers) == 1 and kernel == recurrent:
        raise ValueError(
            f"bidirectional must be True if the {len(weights)} arrays of layers[0] are two "
            "directions, got None: as D = H, they may be two layers, each with a list of its own."
        )


# ONNX ----------------------------------------------------------------------------------------


def to_onnx(params: Mapping[str, np.ndarray], kind: str) -> list[dict[str, np.ndarray]]:
    """The inputs ``W``, ``R``, ``B`` of one ONNX node (RNN, LSTM or GRU) for each layer.

        W (directions, G * H, D)    R (directions, G * H, H)    B (directions, 2 * G * H)

    where B holds both biases, that of the input first; without biases there is none. The node of a
    "GRU" needs ``linear_before_reset=1``, that of a "ResetBeforeGRU" 0, which is ONNX's default.
    Raises ``ValueError`` as :func:`directions`. Source: ONNX operators, RNN-14, LSTM-14, GRU-14.
    """
    order = _order(kind, "torch", "onnx")
    nodes = []
    for suffixes in directions(params, kind):
        w, r, *biases = (
            np.stack([reorder(params[name + suffix], *order) for suffix in suffixes])
            for name in NAMES
            if name + suffixes[0] in params
        )
        nodes.append({"W": w, "R": r})
        if biases:
            nodes[-1]["B"] = np.concatenate(biases, axis=1)
    return nodes


def from_onnx(nodes: Sequence[Mapping[str, np.ndarray]], kind: str) -> Params:
    """The inverse of :func:`to_onnx`.

    ``B`` may be missing, or None: the biases are then zero. A node's other optional inputs may be
    there, but are no weights: ``sequence_lens`` is what a layer is called with as ``lengths`` and
    not looked at; ``initial_h`` and, for an LSTM, ``initial_c`` (a layer's ``state``) and ``P``
    (peepholes) have to be zero. Raises ``ValueError`` where they are not, for a missing or unknown
    input and for a wrong shape, naming the node.
    """
    order = _order(kind, "onnx", "torch")
    params: Params = {}
    for k, node in enumerate(nodes):
        _check_names(f"nodes[{k}]", node)
        node = {name: value for name, value in node.items() if value is not None}
        zero = ("initial_h", "initial_c", "P") if kind == "LSTM" else ("initial_h",)
        optional = [name for name in ("B", "sequence_lens", *zero) if name in node]
        check_keys(f"nodes[{k}]", node, ("W", "R", *optional))
        for name in zero:
            if np.any(node.get(name, 0)):
                raise ValueError(f"nodes[{k}] {name} must be zero, for it has no place in params.")
        check_shape(f"nodes[{k}] R", node["R"], ("directions", "G * H", "H"))
        count, _, hidden = node["R"].shape
        if count > 2:
            raise ValueError(f"nodes[{k}] R must have 1 or 2 directions, got {count}.")
        rows = len(order[0]) * hidden
        check_shape(f"nodes[{k}] R", node["R"], (count, rows, hidden))
        check_shape(f"nodes[{k}] W", node["W"], (count, rows, "D"))
        biases = node.get("B", np.zeros((count, 2 * rows), node["W"].dtype))
        check_shape(f"nodes[{k}] B", biases, (count, 2 * rows))
        for direction in range(count):
            suffix = f"_l{k}{'_reverse' * direction}"
            b_w, b_r = np.split(biases[direction], 2)
            params["weight_ih" + suffix] = reorder(node["W"][direction], *order)
            params["weight_hh" + suffix] = reorder(node["R"][direction], *order)
            params["bias_ih" + suffix] = reorder(b_w, *order)
            params["bias_hh" + suffix] = reorder(b_r, *order)
    directions(params, kind)
    return params


def directions(params: Mapping[str, np.ndarray], kind: str) -> list[tuple[str, ...]]:
    """The suffixes of each layer's names: ``[("_l0", "_l0_reverse"), ("_l1", "_l1_reverse")]``.

    Raises ``ValueError`` unless ``params`` are all the weights of a recurrent layer of this
    ``kind``, with biases or without any, naming what is missing, unknown (torch's projection
    ``weight_hr``, say, which neither Keras nor ONNX has), of another shape or no number.
    """
    check_choice("kind", kind, KINDS)
    _check_names("params", params)
    ends = ("", "_reverse") if any(name.endswith("_reverse") for name in params) else ("",)
    layers = max(1, sum(name.startswith("weight_ih_l") for name in params) // len(ends))
    suffixes = [tuple(f"_l{k}{end}" for end in ends) for k in range(layers)]
    names = NAMES if any(name.startswith("bias") for name in params) else NAMES[:2]
    check_keys("params", params, [n + s for layer in suffixes for s in layer for n in names])

    check_shape("weight_hh_l0", params["weight_hh_l0"], ("G * H", "H"))
    hidden = params["weight_hh_l0"].shape[1]
    rows = len(ORDERS[kind]["torch"]) * hidden
    check_shape("weight_ih_l0", params["weight_ih_l0"], (rows, "D"))
    inputs = params["weight_ih_l0"].shape[1]
    for k, layer in enumerate(suffixes):
        size = inputs if k == 0 else hidden * len(ends)
        for suffix in layer:
            shapes = (rows, size), (rows, hidden), (rows,), (rows,)
            for name, shape in zip(names, shapes, strict=False):  # without biases, the first two
                check_shape(name + suffix, params[name + suffix], shape)
                _check_numbers(name + suffix, params[name + suffix])
    return suffixes


def _order(kind: str, source: str, target: str) -> tuple[str, str]:
    check_choice("kind", kind, KINDS)
    return ORDERS[kind][source], ORDERS[kind][target]


# Files ---------------------------------------------------------------------------------------


def save_params(path: str | Path, params: Mapping[str, np.ndarray]) -> None:
    """Write ``params`` to ``path``, as safetensors or npz by its ending; whole or not at all.

    Neither format can hold code. Raises ``ValueError`` for another ending, for anything but arrays
    of numbers and for what safetensors has no place for (numbers of more than 8 bytes, the name
    ``__metadata__``), and ``ImportError`` where safetensors is wanted and missing; nothing is
    written then.
    """
    ending = _ending(path)
    _check_names("params", params)
    for name, value in params.items():
        if not isinstance(value, np.ndarray):
            raise ValueError(f"{name} must be an array of numbers, got {type(value).__name__}.")
        _check_numbers(name, value)
        if ending == ".safetensors" and value.dtype.itemsize > 8:
            raise ValueError(f"{name} must have numbers of 8 bytes at most, got {value.dtype}.")
    if ending == ".safetensors" and "__metadata__" in params:
        raise ValueError("params must have other keys than safetensors's own, got '__metadata__'.")
    # safetensors ignores strides; np.ascontiguousarray would make () into (1,)
    arrays = {name: np.asarray(value, order="C") for name, value in params.items()}
    to_bytes = _npz if ending == ".npz" else _safetensors().save
    write_atomically(path, to_bytes(arrays))


def load_params(path: str | Path) -> Params:
    """Read what :func:`save_params` wrote; :func:`set_params` puts it into a model.

    Raises ``FileNotFoundError``, ``ImportError`` as :func:`save_params`, and ``ValueError`` where
    the file is none of that kind or holds anything but arrays of numbers.
    """
    ending = _ending(path)
    content = Path(path).read_bytes()
    if ending == ".safetensors":
        safetensors = _safetensors()
        try:
            return safetensors.load(content)
        except Exception as error:  # safetensors's own class derives from Exception alone
            raise ValueError(f"{path} must be a safetensors file, got another.") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            params = {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ValueError(f"{path} must be an npz file of numbers, got another.") from error
    for name, value in params.items():
        _check_numbers(f"{name} in {path}", value)
    return params


def _npz(arrays: Params) -> bytes:
    """What ``np.savez`` writes; it would not take an array that is named "file"."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def _ending(path: str | Path) -> str:
    ending = Path(path).suffix
    if ending not in (".safetensors", ".npz"):
        raise ValueError(f"path must end in .safetensors or .npz, got {Path(path).name!r}.")
    return ending


def _safetensors():
    with needed("safetensors"):
        import safetensors.numpy
    return safetensors.numpy
