"""Files of weights by published names: ``.npz``, and PyTorch's ``.pth``, which needs the package torch."""

import contextlib
import io
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from hamgan.errors import UserError, reason_of
from hamgan.files import write_atomically
from hamgan.npz_file import read_arrays

ENDINGS = (".npz", ".pth", ".pt")
_STATE_KEYS = {"HamNet": "net", "SegNeXt": "state_dict", "mmsegmentation": "state_dict"}
"""Entry of a ``.pth`` file that holds the tensors, by code base. Files of ImageNet have no such level."""
_UNKNOWN_CLASS = re.compile(r"GLOBAL ([\w.]+) was not an allowed global")
_REFUSED = re.compile(r"GLOBAL ([\w.]+)")
_MAX_UNKNOWN_CLASSES = 1000


def is_weight_file(path: str) -> bool:
    """Whether the end of a name is that of a file of weights."""
    return os.path.splitext(path)[1].lower() in ENDINGS


def read_weights(path: str) -> dict[str, np.ndarray]:
    """Returns the tensors of a file of weights by name.

    Nothing in the file is executed. What is not a tensor, such as settings and histories of training, is ignored.

    Args:
        path: path of a ``.npz`` or ``.pth`` file, local or ``gs://``. In ``.pth`` files, both formats of PyTorch are
            read: the zip file, and the older one.

    Raises:
        UserError: the file cannot be read, has no tensors, or needs PyTorch, which is not installed.
    """
    if not is_weight_file(path):
        raise UserError(f"{path}: expected a name that ends in {', '.join(ENDINGS)}; choose such a file")
    arrays = read_arrays(path) if path.lower().endswith(".npz") else _read_torch(path)
    if not arrays:
        raise UserError(f"{path}: expected tensors by name, found none; check the file")
    return arrays


def write_weights(path: str, arrays: Mapping[str, np.ndarray], *, source: str) -> None:
    """Writes arrays by name to a file that :func:`read_weights` reads.

    Args:
        path: path of a ``.npz`` or ``.pth`` file, local or ``gs://``.
        arrays: arrays by name.
        source: code base whose files have these names; it determines the entry of a ``.pth`` file.

    Raises:
        UserError: the file cannot be written, or needs PyTorch, which is not installed.
    """
    buffer = io.BytesIO()
    if path.lower().endswith(".npz"):
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
    else:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        key = _STATE_KEYS.get(source)
        torch.save(tensors if key is None else {key: tensors}, buffer)
    try:
        write_atomically(path, buffer.getvalue())
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot write {path}: {reason_of(error)}") from error


def check_weight_file(path: str) -> None:
    """Checks that a file of weights can be written: its ending, and PyTorch if it needs it.

    Raises:
        UserError: it cannot.
    """
    if not is_weight_file(path):
        raise UserError(f"{path}: expected a name that ends in {', '.join(ENDINGS)}; choose such a name")
    if not path.lower().endswith(".npz"):
        _torch(path)


def _read_torch(path: str) -> dict[str, np.ndarray]:
    torch = _torch(path)
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
    except (OSError, tf.errors.OpError) as error:
        raise UserError(f"cannot read {path}: {reason_of(error)}") from error
    try:
        loaded = _load_without_code(torch, content)
    except Exception as error:  # Interpreting damaged bytes as a pickle may raise anything.
        raise UserError(f"{path}: expected a file of torch.save, found another ({reason_of(error)})") from error
    tensors = _state(torch, loaded)
    return {name: _array(torch, tensor) for name, tensor in tensors.items()}


class _Ignored:
    """What stands in for objects of unknown classes. It keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> "_Ignored":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


def _load_without_code(torch: Any, content: bytes) -> Any:
    """Loads a file with ``weights_only=True``. Objects of unknown classes become empty ones instead of errors."""
    unknown: list[str] = []
    while True:
        with _as_ignored(torch, unknown):
            try:
                return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except pickle.UnpicklingError as error:
                match = _UNKNOWN_CLASS.search(str(error))
                if match is None or match[1] in unknown or len(unknown) >= _MAX_UNKNOWN_CLASSES:
                    raise ValueError(_reason(error)) from error
                unknown.append(match[1])


@contextlib.contextmanager
def _as_ignored(torch: Any, names: list[str]) -> Iterator[None]:
    stand_ins = [(type(f"Ignored{index}", (_Ignored,), {}), name) for index, name in enumerate(names)]
    with torch.serialization.safe_globals(stand_ins):
        yield


def _reason(error: pickle.UnpicklingError) -> str:
    """Returns the reason inside PyTorch's long message, which recommends to trust the file."""
    match = _REFUSED.search(str(error))
    return f"it refers to {match[1]}, which may run code" if match else "it is damaged, or of another kind"


def _state(torch: Any, loaded: Any) -> dict[str, Any]:
    """Returns the tensors by name, at the top or one level below."""
    if not isinstance(loaded, Mapping):
        return {}
    levels = [loaded.get(key) for key in ("state_dict", "net", "model")]
    for level in [*(each for each in levels if isinstance(each, Mapping)), loaded]:
        tensors = {name: value for name, value in level.items() if isinstance(value, torch.Tensor)}
        if tensors:
            return tensors
    return {}


def _array(torch: Any, tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        tensor = tensor.to(torch.float32)  # NumPy has no bfloat16.
    return tensor.contiguous().numpy()


def _torch(path: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path}: expected the package torch for this format, found none; pip install 'hamgan[torch]', or use an "
            ".npz file of the same names"
        ) from error
    return torch
