"""Store the numbers of packed detectors in tables with a row each, so that a request gathers rows at once.

Gathering them from 500 objects would take 10 ms per request. Tables grow, and rows without a handle are
reused. What the numbers mean is in `packed_detector`.
"""

import threading
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

INITIAL_ROWS = 64


@dataclass(frozen=True, eq=False)
class RowHandle:
    """A row of every table, reserved as long as this object exists."""

    row: int


class ParameterTable:
    """Tables by name; safe for several threads. All rows have the same names."""

    def __init__(self) -> None:
        self._tables: dict[str, NDArray[Any]] = {}
        self._rows = 0  # in use or free
        self._free: list[int] = []
        # Filled by the garbage collector, possibly in the middle of `put`: without the lock.
        self._returned: deque[int] = deque()
        self._lock = threading.Lock()

    def put(self, numbers: Mapping[str, ArrayLike]) -> RowHandle:
        """Store numbers in a row of their own.

        A one-dimensional entry shorter than others of its name is filled up with zeros.
        """
        with self._lock:
            while self._returned:
                self._free.append(self._returned.popleft())
            row = self._free.pop() if self._free else self._rows
            self._rows = max(self._rows, row + 1)
            for name, value in numbers.items():
                entry = np.asarray(value)
                table = self._ensure_capacity(name, entry, row)
                if entry.ndim == 1:
                    table[row] = 0
                    table[row, : len(entry)] = entry
                else:
                    table[row] = entry
        row_handle = RowHandle(row)
        weakref.finalize(row_handle, self._returned.append, row)
        return row_handle

    def column(self, name: str) -> NDArray[Any]:
        """The table of a name; read only rows whose handles are held."""
        return self._tables[name]

    def _ensure_capacity(self, name: str, entry: NDArray[Any], row: int) -> NDArray[Any]:
        """The table, enlarged if needed; readers may keep using the smaller one, which has their rows."""
        old = self._tables.get(name)
        if old is None:
            old = np.zeros((INITIAL_ROWS, *entry.shape), entry.dtype)
        rows = len(old) if row < len(old) else max(2 * len(old), row + 1)
        shape = old.shape[1:] if entry.ndim != 1 else (max(old.shape[1], len(entry)),)
        if (rows, *shape) != old.shape or name not in self._tables:
            table = np.zeros((rows, *shape), old.dtype)
            table[tuple(slice(size) for size in old.shape)] = old
            self._tables[name] = table
        return self._tables[name]
