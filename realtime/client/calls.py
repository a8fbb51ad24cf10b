"""What a client has to have done elsewhere, one call each; and the update that several become.

The theory in a few lines. A `Call` is a method of a `Registry` and its arguments. Once it is made it never changes: it
is sent, as often as it takes, until it is answered. Before that, what waits for a task may still grow (`Waiting`): one
update takes in the next, a piece of output is joined to the one before it. All else closes what waits, so that
everything reaches the server in the order in which it was said.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from ..errors import RealtimeError
from ..registry.merged import Merged as Merged

#: Bytes of output that one call takes in, unless a single piece is longer.
MAX_JOINED: Final = 64 * 1024

#: The calls that end a task: they are kept and tried again after whoever made them has given up waiting.
ENDS: Final = frozenset(("complete", "fail", "cancel"))
#: The calls that belong to no task in work.
READS: Final = frozenset(("get", "list", "remove"))
#: The calls that are made as the holder of the task.
HELD: Final = frozenset(("update", "append_output", "start", "acknowledge_cancel", *ENDS))


class Teller(Protocol):
    """What an answer is told to; an event, mostly."""

    def set(self) -> object: ...


class Call:
    """One call of a `Registry` method, ``verb``, for a task. ``answer`` is what it returned, or the error it raised."""

    __slots__ = ("abandoned", "answer", "answered", "args", "claimed", "holder", "size", "task_id", "tell", "verb")

    def __init__(self, verb: str, task_id: str, args: tuple[Any, ...], size: int = 0) -> None:
        self.verb = verb
        self.task_id = task_id
        #: The positional arguments after ``task_id``; of ``create`` the `NewTask` and ``exist_ok``.
        self.args = args
        #: Bytes of output or of an end in it, which are what may not wait without bound.
        self.size = size
        self.tell: list[Teller] = []
        self.answered = False
        self.answer: Any = None
        #: Whether nobody waits for it any more, nor needs it done.
        self.abandoned = False
        #: As which holder of the task it is made (`registry.conditional`); None: as nobody in particular.
        self.holder: str | None = None
        #: Whether somebody waits who raises the answer if it is an error.
        self.claimed = False

    def __repr__(self) -> str:
        return f"<Call {self.verb} {self.task_id!r}>"

    def conclude(self, answer: Any) -> None:
        """Take the answer, and tell whoever waits for it."""
        self.answer = answer
        self.answered = True
        for teller in self.tell:
            teller.set()

    def value(self) -> Any:
        """The answer. Raises it if it is an error."""
        if isinstance(self.answer, RealtimeError):
            raise self.answer.with_traceback(None)
        return self.answer


class Waiting:
    """What waits to be sent for one task, in order."""

    __slots__ = ("calls", "holder", "merged", "pieces", "task_id")

    def __init__(self, task_id: str) -> None:
        self.task_id = task_id
        #: As whom it is said.
        self.holder: str | None = None
        #: Closed: nothing is added to them any more.
        self.calls: list[Call] = []
        self.merged: Merged | None = None
        #: Output after the last call, per stream: pieces.
        self.pieces: dict[str, list[bytes]] = {}

    def __bool__(self) -> bool:
        return self.merged is not None or bool(self.calls) or bool(self.pieces)

    def write(self, stream: str, data: bytes) -> None:
        """One more piece of output."""
        self.pieces.setdefault(stream, []).append(data)

    def close(self) -> Call | None:
        """Make calls of what is still open. Returns the last of all that wait."""
        if self.merged is not None:
            for update in self.merged.updates():
                self._add(Call("update", self.task_id, update))
            self.merged = None
        if self.pieces:
            for stream, pieces in self.pieces.items():
                for data in _joined(pieces):
                    self._add(Call("append_output", self.task_id, (stream, data), len(data)))
            self.pieces = {}
        return self.calls[-1] if self.calls else None

    def put(self, call: Call) -> None:
        """Something that follows all that waits, and that all else follows."""
        self.close()
        self._add(call)

    def _add(self, call: Call) -> None:
        if call.verb in HELD:
            call.holder = self.holder
        self.calls.append(call)

    def drain(self) -> list[Call]:
        """All that waits, as calls; nothing does after it."""
        self.close()
        calls, self.calls = self.calls, []
        return calls


def _joined(pieces: list[bytes]) -> list[bytes]:
    """Pieces joined whole, so that none is cut, into texts of about `MAX_JOINED` bytes."""
    joined: list[bytes] = []
    first, size = 0, 0
    for place, piece in enumerate(pieces):
        if size and size + len(piece) > MAX_JOINED:
            joined.append(b"".join(pieces[first:place]))
            first, size = place, 0
        size += len(piece)
    joined.append(b"".join(pieces[first:]))
    return joined
