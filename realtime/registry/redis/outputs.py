"""What tasks write, in the store: the end of each stream, and its tail."""

from __future__ import annotations

from ...errors import LimitReached, TaskAlreadyFinished, TaskNotFound
from ...task import Task
from ..output import MAX_STREAMS, Piece, piece_of
from .link import Link
from .records import Records


class Outputs:
    """``tail`` is in bytes: so much of a stream is kept. Every method may raise `RegistryUnavailable`."""

    def __init__(self, link: Link, records: Records, tail: int) -> None:
        self._link = link
        self._keys = link.keys
        self._records = records
        self._tail = tail

    def append(self, task: Task, stream: str, data: bytes, nonce: bytes) -> tuple[int, Task]:
        """Write to a stream of a task, of which only the channels count. Returns where the data end, and the task.

        Raises `TaskNotFound`, `TaskAlreadyFinished` and `LimitReached`.
        """
        task_id, keys = task.task_id, self._keys
        answer = self._link.run(
            "append", [keys.task(task_id), keys.output(task_id), keys.stream(task_id, stream)],
            [nonce, stream, data, self._tail, MAX_STREAMS, task_id, *keys.channels_of(task)],
        )  # fmt: skip
        if answer[0] == -1:
            self._records.forget(task_id)
            raise TaskNotFound(task_id)
        if answer[0] == -2:
            raise LimitReached(f"stream: the task has {MAX_STREAMS} already, no more are taken")
        if answer[0] == 0:
            raise TaskAlreadyFinished(task_id, answer[1].decode())
        return int(answer[1]), self._records.decoded(*answer[2:]).task

    def read(self, task_id: str, stream: str, offset: int, end: int, most: int) -> Piece | None:
        """As `Registry.read_output`."""
        keys = [self._keys.output(task_id), self._keys.stream(task_id, stream)]
        answer = self._link.run("read", keys, [stream, offset, end, most, self._tail])
        if not answer:
            return None
        finish, first, data = answer
        return piece_of(data, first, int(finish), offset, end, most)

    def ends(self, task_id: str) -> dict[str, int]:
        """As `Registry.output_ends`."""
        (found,) = self._link.ask(("HGETALL", self._keys.output(task_id)))
        return {name.decode(): int(end) for name, end in found.items() if not name.startswith(b" ")}

    def all(self, task_id: str) -> dict[str, tuple[int, bytes]]:
        """All that is kept of each stream, with its offset."""
        kept: dict[str, tuple[int, bytes]] = {}
        for stream, end in self.ends(task_id).items():
            piece = self.read(task_id, stream, 0, end, end)
            if piece is not None:
                kept[stream] = piece.offset, piece.data
        return kept
