"""Writing to a viewer's descriptor with the GIL held, without blocking.

``socket.send`` lets go of the GIL, and one thread that computes then takes it for 5 ms at each of a thousand sends.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from typing import Final

FLAGS: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
_AGAIN: Final = (errno.EAGAIN, errno.EINTR)

# A PyDLL call keeps the GIL, unlike a CDLL call and unlike socket.send.
_libc = ctypes.PyDLL(None, use_errno=True)
#: ``send(descriptor, data, len(data), FLAGS)``: how many bytes were taken; negative when none, see `is_full`.
send = _libc.send
send.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
send.restype = ctypes.c_ssize_t


def is_full() -> bool:
    """Whether the last `send` has failed only because there is no room now."""
    return ctypes.get_errno() in _AGAIN


def end_writing(descriptor: int) -> None:
    """Tell the peer that nothing follows what it has still to read. Never raises."""
    _libc.shutdown(descriptor, socket.SHUT_WR)
