"""The windows of a minute: how many calls each key has made, shared exactly by every worker of one machine.

The counters stand in a file that each worker maps into its memory: four numbers a key (the minute and the count, for
chat and for images), with several workers guarded by a lock on just those bytes. Taking one costs two system calls at
most, and no database; a worker that dies loses nothing, and a restart forgets nothing. Windows are fixed and begin on
the UTC minute, as the Console platform documents; refused and failed calls count.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

WINDOW_S = 60
_SLOT = struct.Struct("=IIII")  # Chat minute, chat count, image minute, image count.
_HALF = struct.Struct("=II")
_GROWTH_BYTES = 1 << 20  # 65,536 keys; the file is sparse.


class Window(NamedTuple):
    """One key's window after a call was counted."""

    limit: int
    remaining: int
    reset_s: int  # UTC epoch seconds.
    allowed: bool


class Windows:
    """Counters in a file, one slot a key. `shared`: other processes count in it at the same time."""

    def __init__(self, path: Path, *, shared: bool = True) -> None:
        self._shared = shared
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._map = self._mapped(_GROWTH_BYTES)

    def take(self, key_id: int, *, image: bool, limit: int, now_s: int) -> Window:
        """Count one call of a key, and say whether it is within the limit."""
        return self._count(key_id, image=image, limit=limit, now_s=now_s, calls=1)

    def look(self, key_id: int, *, image: bool, limit: int, now_s: int) -> Window:
        """The window as it stands, without counting."""
        return self._count(key_id, image=image, limit=limit, now_s=now_s, calls=0)

    def close(self) -> None:
        """Unmap and close the file."""
        self._map.close()
        os.close(self._file)

    def _count(self, key_id: int, *, image: bool, limit: int, now_s: int, calls: int) -> Window:
        minute = now_s // WINDOW_S
        at = key_id * _SLOT.size + (_HALF.size if image else 0)
        if at + _HALF.size > len(self._map):
            self._map = self._mapped(at + _GROWTH_BYTES)
        locked = calls and self._shared
        if locked:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _HALF.size, at)
        try:
            seen, count = _HALF.unpack_from(self._map, at)
            # A call that read the clock just before the border and counts just after another belongs to the new
            # window; it must not wipe what that has counted.
            minute = seen if seen == minute + 1 else minute
            count = calls + (count if seen == minute else 0)
            if calls:
                _HALF.pack_into(self._map, at, minute, count)
        finally:
            if locked:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _HALF.size, at)
        return Window(limit, max(0, limit - count), (minute + 1) * WINDOW_S, count <= limit)

    def _mapped(self, size: int) -> mmap.mmap:
        size = -(-size // _GROWTH_BYTES) * _GROWTH_BYTES
        # One at a time, under the lock of the slot that no key has: a file that shrinks kills whoever maps its end.
        fcntl.lockf(self._file, fcntl.LOCK_EX, _SLOT.size, 0)
        try:
            size = max(size, os.fstat(self._file).st_size)
            os.truncate(self._file, size)
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _SLOT.size, 0)
        return mmap.mmap(self._file, size)
