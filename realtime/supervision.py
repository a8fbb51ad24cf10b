"""What passes between a task's worker and whoever watches over it: signs of life, and requests to stop.

A request to stop has phases that viewers see. It is *requested* (``cancel_requested_at``); it is *acknowledged*
(``cancel_acknowledged_at``) once whoever works on the task knows of it, and not before: a handle that raises
`TaskCancelled` or has been asked whether it is cancelled, a block whose heartbeat was answered with the request, a
command that is sent its signal, a worker that is answered ``409 cancel_requested``; and it is honoured when the task
ends. Of one that is acknowledged and not honoured, the job is to blame, of one that is not even acknowledged, the way
to it.
"""

from __future__ import annotations

from . import values
from .errors import InvalidValue
from .registry.base import Registry
from .task import Task
from .values import TaskId


class Supervision:
    """These of the lifecycle functions."""

    registry: Registry

    def heartbeat_task(
        self, task_id: TaskId, lease: float = 30.0, *, holder: str | None = None, takeover: bool = False
    ) -> Task:
        """Say that a task's worker is alive, and will say so again, or update the task, within ``lease`` seconds.

        After half a lease (1 to 86,400 s) without a word the task shows ``stalled_since``; after all of it, it fails
        with code ``worker_lost``. Progress does not move by it.

        ``holder`` (1 to 64 characters) names the worker. While its lease runs, the heartbeats of another holder are
        refused with `LeaseHeld`, unless that one says ``takeover=True``, as it was started in the place of this one;
        from then on this one's are refused. Raises `TaskNotFound`, `TaskAlreadyFinished`, `InvalidValue`.
        """
        if not 1 <= (lease := values.number("lease", lease)) <= 86_400:
            raise InvalidValue("lease", f"{lease!r}; it may be 1 to 86400 seconds")
        return self.registry.heartbeat(
            values.known_id(task_id), lease, None if holder is None else values.holder(holder), bool(takeover)
        )

    def cancel_task(self, task_id: TaskId, *, done: bool = False) -> Task:
        """Ask a task to stop; or (``done=True``, the worker's answer) end it as cancelled. Returns its snapshot.

        A pending task ends at once. A processing one gets ``cancel_requested_at``, and its handle raises
        `TaskCancelled` at its next update; code without a handle has to look for it. Its parts are asked as well.
        Asking again changes nothing. Raises `TaskNotFound`, and `TaskAlreadyFinished` if it has completed or failed.
        """
        return (self.registry.cancel if done else self.registry.request_cancel)(values.known_id(task_id))

    def acknowledge_cancel(self, task_id: TaskId) -> Task:
        """Say that a task's job has heard of the request to stop, and will answer it: ``cancel_acknowledged_at``, once.

        For jobs that look for ``cancel_requested_at`` themselves; handles, blocks and ``realtime run`` say it. Nothing
        changes if nobody has asked, or it is cancelled already. Raises `TaskNotFound`, `TaskAlreadyFinished`.
        """
        return self.registry.acknowledge_cancel(values.known_id(task_id))
