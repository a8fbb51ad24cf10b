"""One flush: each dirty task encoded once, the frames joined once, one hand-over per viewer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from . import protocol
from .frames import Batch, Frame
from .metrics import Metrics
from .protocol import MAX_FLUSH_BYTES
from .registry.base import Local, Removed
from .registry.output import Piece
from .task import Task
from .viewer import Viewer

log = logging.getLogger("realtime")

#: Of a flush, the bytes that output may take up, so that snapshots find room too; and those of one piece, before JSON.
MAX_OUTPUT_BYTES: Final = 48 * 1024
MAX_PIECE_BYTES: Final = 32 * 1024


class _Push:
    """What there is to tell of one task: its newest snapshot, or that it is gone."""

    __slots__ = ("alone", "early", "finished", "frame", "owner", "task")

    def __init__(self, frame: Frame, task: Task | None) -> None:
        self.frame = frame
        self.alone = Batch([frame])
        self.task = task
        self.owner = None if task is None else task.user_id
        self.finished = task is None or task.finished
        #: Whether it is an end that the task came to during this flush, with output that the next one tells.
        self.early = False


class Told:
    """How far the streams of tasks have been told to viewers that are up to date.

    The end of a stream is looked at once in a flush: what is written meanwhile is the next one's.
    """

    def __init__(self, registry: Local, written: dict[tuple[str, str], int]) -> None:
        self._registry = registry
        self._written = written
        self._ends: dict[str, dict[str, int]] = {}
        #: Tasks of which the log says already that they cannot be encoded.
        self.broken: set[str] = set()

    def advance(self, task_id: str, stream: str, start: int) -> tuple[int, int]:
        """A stream is told to its present end. Returns from where on, and to where: ``start`` is where its news began.

        (There are none if it was noted after the last flush had taken its note and before that looked for the end.)
        """
        ends = self._ends.setdefault(task_id, {})
        start = max(start, ends.get(stream, 0))
        end = ends[stream] = self._registry.output_ends(task_id).get(stream, start)
        return start, end

    def end(self, task_id: str, stream: str) -> int:
        """To where a stream is told."""
        ends = self._ends.setdefault(task_id, {})
        if stream not in ends:  # written before anybody watched, but for what is noted and told by the next flush
            end = self._registry.output_ends(task_id).get(stream)  # before the note, which was there before it
            if end is None:
                return 0  # a name that a viewer has thought of: not kept, for there is no end of such names
            ends[stream] = min(end, self._written.get((task_id, stream), end))
        return ends[stream]

    def forget(self, task_id: str) -> None:
        """The task has gone."""
        self._ends.pop(task_id, None)
        self.broken.discard(task_id)


class Flush:
    """What a flush has encoded so far. ``created`` are the tasks of which no room has been told yet; ``end_of``
    says to where a stream is told in this flush, the same for everybody. ``broken``: tasks whose failure to be encoded
    is in the log."""

    def __init__(
        self, registry: Local, make_frame: Callable[[str, bytes], Frame], created: set[str],
        end_of: Callable[[str, str], int], metrics: Metrics | None = None, broken: set[str] | None = None,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._frame = make_frame
        self._created = created
        self._end_of = end_of
        self._pushes: dict[str | Removed, _Push | None] = {}
        self._pieces: dict[tuple[str, str, int], tuple[_Push, int] | None] = {}
        self._left = False
        self._batches: dict[tuple[_Push, ...], Batch] = {}
        #: How many snapshots were encoded, and how many frames handed over; bytes (as `Frame.size`), if it is measured.
        self.encodes = self.given = self.bytes = 0
        #: Viewers to be closed after this flush, and why.
        self.closing: dict[Viewer, str] = {}
        self._error: Exception | None = None
        self._broken = set() if broken is None else broken
        self._failures: dict[str, Exception] = {}
        #: Whether a viewer that could take more was left with something for the next tick.
        self.more = False
        self._metrics = metrics
        if metrics is not None:
            metrics.begin()

    def take(self) -> None:
        """What was marked is taken now."""
        if self._metrics is not None:
            self._metrics.taken()

    def report(self, behind: int, news: bool) -> None:
        """The flush is over: measure it, and log in one entry that viewers could not be told. (Not in `give`, which
        runs under the hub's lock.) ``behind``: so many viewers have still to be told; ``news``: something was marked.
        """
        if self._metrics is not None:
            self._metrics.flushed(self.bytes, behind, news)
        for task_id, error in self._failures.items():
            if task_id not in self._broken:
                self._broken.add(task_id)
                log.error("The task %s or its output could not be encoded; it is left out.", task_id, exc_info=error)
        if self._error is not None:
            log.error("Viewers could not be told in a flush and are closed.", exc_info=self._error)

    def close(self, close_viewer: Callable[[Viewer, str], None]) -> None:
        """Close the viewers that it has found to be closed, when it is over."""
        for viewer, reason in self.closing.items():
            try:
                close_viewer(viewer, reason)
            except Exception:  # those after it are to be closed, too
                log.exception("A viewer that %s could not be closed.", reason)

    def give(self, viewer: Viewer) -> None:
        """Hand a viewer what it has still to be told, oldest first, up to `MAX_FLUSH_BYTES`; the rest stays.

        Output goes before snapshots, so that a task's end comes after all that it wrote.
        """
        if len(viewer.dirty) == 1 and viewer.outputs is None and self._give_one(viewer):
            return
        pushes: list[_Push] = []
        told: list[Any] = []
        self._left = False
        if viewer.outputs:
            self._add_outputs(viewer, pushes, told)
        self._add_tasks(viewer, pushes, told)
        if pushes:
            batch = pushes[0].alone if len(pushes) == 1 else self._batch(tuple(pushes))
            taken = self._push(viewer, batch)
            self.given += taken
            if self._metrics is not None:
                self.bytes += batch.size if taken == len(pushes) else sum([push.frame.size for push in pushes[:taken]])
            dirty, outputs = viewer.dirty, viewer.outputs
            for what in told[:taken]:
                if isinstance(what, str):
                    del dirty[what]
                elif outputs is not None:
                    task_id, stream, end = what
                    outputs[task_id, stream] = end
                    if end >= self._end_of(task_id, stream):
                        del outputs[task_id, stream]
        if not viewer.outputs:
            viewer.outputs = None
        if self._left and viewer.outbox.busy_since is None:
            self.more = True

    def _give_one(self, viewer: Viewer) -> bool:
        """What `give` comes to for most viewers of most flushes, with less to do: one snapshot of their own task.

        Returns whether it was that.
        """
        [(task_id, removed)] = viewer.dirty.items()
        push = self._pushes.get(task_id) if removed is None else None
        if push is None and removed is None and task_id not in self._pushes:
            push = self._make(task_id, None)
        if (
            push is None
            or push.owner is None
            or push.owner != viewer.grant.user_id
            or push.early
            or (viewer.hidden and not push.finished)
        ):
            return False
        if self._push(viewer, push.alone):
            self.given += 1
            if self._metrics is not None:
                self.bytes += push.frame.size
            del viewer.dirty[task_id]
        return True

    def _push(self, viewer: Viewer, batch: Batch) -> int:
        try:
            return viewer.outbox.push(batch)
        except Exception as error:  # which is this viewer's, and must not keep those after it from being told
            viewer.live = False  # or every flush until it is closed would fail again
            self.closing[viewer] = "could not be told"
            self._error = self._error or error
            return 0

    def _add_tasks(self, viewer: Viewer, pushes: list[_Push], told: list[Any]) -> None:
        dirty = viewer.dirty
        user = viewer.grant.user_id
        size = sum([push.frame.size for push in pushes]) if pushes else 0
        for task_id, removed in list(dirty.items()):
            key = task_id if removed is None else removed
            push = self._pushes[key] if key in self._pushes else self._make(task_id, removed)
            # An id may have come back as somebody else's since it became dirty; then its removal follows.
            if push is None or (
                push.task is not None
                and (push.owner is None or push.owner != user)
                and not viewer.grant.may_view(push.task)
            ):
                del dirty[task_id]
                continue
            if push.early:
                continue
            if not push.finished:
                if viewer.hidden:
                    continue
            elif viewer.outputs and self._owes_output(viewer, task_id, told):
                continue
            if pushes and size + push.frame.size > MAX_FLUSH_BYTES:
                self._left = True
                break
            pushes.append(push)
            told.append(task_id)
            size += push.frame.size

    def _add_outputs(self, viewer: Viewer, pushes: list[_Push], told: list[Any]) -> None:
        assert viewer.outputs is not None
        size = 0
        for (task_id, stream), offset in list(viewer.outputs.items()):
            task = self._registry.get(task_id)
            if task is None or not viewer.grant.may_view(task) or offset >= self._end_of(task_id, stream):
                del viewer.outputs[task_id, stream]
                continue
            if viewer.hidden and not task.finished:
                continue
            passed = False
            while size < MAX_OUTPUT_BYTES and offset < self._end_of(task_id, stream):
                piece = self._output(task_id, stream, offset)
                if piece is None:  # passed over to the end, by the next flush if something stands before it in this
                    passed = not told or told[-1][:2] != (task_id, stream)
                    break
                push, offset = piece
                pushes.append(push)
                told.append((task_id, stream, offset))
                size += push.frame.size
            if passed:
                del viewer.outputs[task_id, stream]
            else:
                self._left |= offset < self._end_of(task_id, stream)

    def _owes_output(self, viewer: Viewer, task_id: str, told: list[Any]) -> bool:
        """Whether output of the task remains that finds no room in this flush."""
        reached = {what[:2]: what[2] for what in told if not isinstance(what, str)}
        return any(
            key[0] == task_id and reached.get(key, offset) < self._end_of(*key)
            for key, offset in (viewer.outputs or {}).items()
        )

    def _output(self, task_id: str, stream: str, offset: int) -> tuple[_Push, int] | None:
        """A piece of a stream and where it ends; None if it cannot be had. Viewers that have read as far share it."""
        key = task_id, stream, offset
        if key not in self._pieces:
            try:
                self._pieces[key] = self._encode_output(task_id, stream, offset)
            except Exception as error:  # which is this stream's, and must not keep the others from being told
                self._failures.setdefault(task_id, error)
                self._pieces[key] = None
        return self._pieces[key]

    def _encode_output(self, task_id: str, stream: str, offset: int) -> tuple[_Push, int]:
        end, most = self._end_of(task_id, stream), MAX_PIECE_BYTES
        while True:
            piece = self._registry.read_output(task_id, stream, offset, end, most) or Piece(end, end, b"")
            payload = msgspec.json.encode(
                {
                    "task_id": task_id, "stream": stream, "epoch": self._registry.epoch,
                    "offset": piece.offset, "end": piece.end, "text": piece.data.decode(),
                }
            )  # fmt: skip
            if len(payload) <= MAX_OUTPUT_BYTES or most <= 1024:
                break
            most //= 2  # control characters grow sixfold in JSON
        return _Push(self._frame(protocol.TASK_OUTPUT, payload), None), piece.end

    def _batch(self, pushes: tuple[_Push, ...]) -> Batch:
        batch = self._batches.get(pushes)
        if batch is None:
            batch = self._batches[pushes] = Batch([push.frame for push in pushes])
        return batch

    def _make(self, task_id: str, removed: Removed | None) -> _Push | None:
        """The push of a removal, or of a task as it is now; None if it left after it was marked, or cannot be encoded.
        (That is no reason to keep it: its next change is another try.)
        """
        task = None if removed is not None else self._registry.get(task_id)
        key = task_id if removed is None else removed
        if removed is None and task is None:
            self._pushes[key] = None
            return None
        try:
            push = self._pushes[key] = _Push(self._encode(task_id, removed, task), task)
        except Exception as error:  # which is this task's, and must not keep the others from being told
            self._failures.setdefault(task_id, error)
            self._pushes[key] = None
            return None
        if task is not None and task.finished:
            ends = self._registry.output_ends(task_id)
            push.early = any(end > self._end_of(task_id, stream) for stream, end in ends.items())
        return push

    def _encode(self, task_id: str, removed: Removed | None, task: Task | None) -> Frame:
        if removed is not None:
            told = {"task_id": task_id, "epoch": removed.epoch, "version": removed.version}
            return self._frame(protocol.TASK_REMOVED, msgspec.json.encode(told))
        assert task is not None
        event = protocol.TASK_CREATED if task_id in self._created else protocol.TASK_PROGRESS
        payload = task.encode_push()
        self.encodes += 1
        return self._frame(protocol.TERMINAL_EVENTS.get(task.status, event), payload)
