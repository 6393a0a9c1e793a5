"""The content of a file: copied to exact plain types, and summed to a checksum."""

from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["checksum", "snapshot"]


class _Hash(Protocol):
    def update(self, data: bytes | ctypes.Array[ctypes.c_char], /) -> None: ...


def snapshot(value: object, where: str) -> object:
    """Return a copy that holds exact builtin types and compact tensors without a graph.

    Numbers of subclasses (NumPy's, for instance) become builtin ones, tensors of subclasses plain ones: a safe reader
    would refuse the rest.

    Args:
        value: a tensor, None, a boolean, number or string, or a list, tuple or dict of these.
        where: what to call the value in an error.

    Raises:
        TypeError: something else is in there; the message gives the way to it.
    """
    if isinstance(value, Tensor):
        return _copied(value, where)
    if value is None or isinstance(value, bool):
        return value
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    if isinstance(value, Mapping):
        return {_key(key, where): snapshot(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [snapshot(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    raise TypeError(
        f"{where} is a {type(value).__name__}, which a file cannot hold; "
        "expected a tensor, None, a boolean, a number, a string, or a list, tuple or dict of these"
    )


def checksum(value: object) -> str:
    """Return the SHA-256 of a value, the same for every order of a dict's keys and every device.

    Raises:
        TypeError: the value holds something that a file of ours cannot hold.
    """
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _key(key: object, where: str) -> str | int:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, int) and not isinstance(key, bool):
        return int(key)
    raise TypeError(f"{where} has the key {key!r}; expected a string or an integer")


def _copied(value: Tensor, where: str) -> Tensor:
    if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta":
        raise TypeError(
            f"{where} is a tensor of layout {value.layout} on {value.device}; expected a dense one with numbers"
        )
    with torch.no_grad():
        plain = value.detach().resolve_conj().resolve_neg()
        return plain.as_subclass(Tensor).clone(memory_format=torch.contiguous_format)


def _add(total: _Hash, value: object) -> None:
    """Feed a value to the hash, each kind under a mark of its own and with its length, so that no two values agree."""
    if isinstance(value, Tensor):
        _add(total, ["tensor", str(value.dtype), list(value.shape)])
        _add_numbers(total, value)
    elif value is None or isinstance(value, bool | int):
        total.update(f"{type(value).__name__}:{value};".encode())
    elif isinstance(value, float):
        total.update(b"float:" + struct.pack("<d", value))
    elif isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        total.update(f"str:{len(data)}:".encode() + data)
    elif isinstance(value, list | tuple):
        total.update(f"{'list' if isinstance(value, list) else 'tuple'}:{len(value)}:".encode())
        for item in value:
            _add(total, item)
    elif isinstance(value, dict):
        total.update(f"dict:{len(value)}:".encode())
        for key in sorted(value, key=lambda key: (type(key).__name__, key)):
            _add(total, key)
            _add(total, value[key])
    else:
        raise TypeError(f"a {type(value).__name__} cannot be in a file")


def _add_numbers(total: _Hash, value: Tensor) -> None:
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    size = plain.numel() * plain.element_size()
    if size:
        # The bytes where they lie: NumPy may not be installed, and a copy would double the memory.
        total.update((ctypes.c_char * size).from_address(plain.data_ptr()))
