"""An SQLite file of tasks: its lock, its schema, and what a task looks like in it. No thread of its own.

The file belongs to one process, which holds the lock of ``<file>-lock`` for as long as it lives. (A lock on the file
itself would be lost with the first descriptor of it that anybody in the process closes.) It is a lock of ``flock``: a
forked child would share it, and lets go of its copy before anything else.

Writes are transactions in the write-ahead log. A durable one returns when it is on disk (``synchronous=FULL``); another
one survives the end of the process, and a loss of power at most in part, its end first.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import ConfigError, RegistryUnavailable
from ..kin import Children, kin_of
from ..progress import Pace
from ..task import Task, TaskFailure, TaskStatus, make_info

#: Says of an SQLite file that it is one of ours ("RTPr").
APPLICATION_ID: Final = 0x52545072
#: Counts the changes of the schema; a file of a later one is refused.
SCHEMA_VERSION: Final = 3
#: Seconds that a write waits for another program to let go of the file.
BUSY_TIMEOUT: Final = 2.0

#: A statement and its parameters.
Statement = tuple[str, Sequence[Any]]

#: ``ord`` is `TaskInfo.order`, ``ended`` counts the ends; columns of no type take whole numbers and fractions as they
#: are. ``output`` holds the retained tails in pieces. There is one ``memory``: ``floor`` is the highest version that a
#: removed task has left with.
_SCHEMA: Final = (
    "CREATE TABLE memory (epoch TEXT NOT NULL, floor INTEGER NOT NULL)",
    """CREATE TABLE tasks (
        ord INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, user_id TEXT, groups TEXT NOT NULL, name TEXT,
        created REAL NOT NULL, cancellable INTEGER NOT NULL, attempt INTEGER NOT NULL, retry_of TEXT, parent_id TEXT,
        status TEXT NOT NULL, version INTEGER NOT NULL, message TEXT, current, total, percent REAL, unit TEXT,
        metadata BLOB NOT NULL, pace TEXT, started REAL, updated REAL NOT NULL, stalled REAL, cancel_requested REAL,
        output_size INTEGER NOT NULL, output_more INTEGER NOT NULL, lease REAL, acknowledged REAL,
        completed REAL, result BLOB, error TEXT, ended INTEGER, weight REAL, announced INTEGER, depth INTEGER,
        origin TEXT, children TEXT, retried_by TEXT, holder TEXT)""",
    """CREATE TABLE output (
        ord INTEGER NOT NULL, stream TEXT NOT NULL, start INTEGER NOT NULL, data BLOB NOT NULL,
        PRIMARY KEY (ord, stream, start))""",
)
#: Columns of ``tasks`` that files of an earlier schema lack, and get when they are opened.
_ADDED: Final = (
    "acknowledged REAL", "weight REAL", "announced INTEGER", "depth INTEGER", "origin TEXT", "children TEXT",
    "retried_by TEXT", "holder TEXT",
)  # fmt: skip
_FIXED: Final = (
    "ord", "task_id", "user_id", "groups", "name", "created", "cancellable", "attempt", "retry_of", "parent_id",
    "weight", "announced", "depth", "origin",
)  # fmt: skip
_CHANGING: Final = (
    "status", "version", "message", "current", "total", "percent", "unit", "metadata", "pace", "started", "updated",
    "stalled", "cancel_requested", "output_size", "output_more", "lease", "acknowledged", "completed",
    "result", "error", "children", "retried_by", "holder", "ended",
)  # fmt: skip
_SELECT: Final = f"SELECT {', '.join(_FIXED + _CHANGING)} FROM tasks ORDER BY ended, ord"  # NULL, not ended, first
_INSERT: Final = (
    f"INSERT INTO tasks ({', '.join(_FIXED + _CHANGING)}) VALUES ({', '.join('?' * len(_FIXED + _CHANGING))})"
)
_UPDATE: Final = f"UPDATE tasks SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE ord = ?"


class _Error(msgspec.Struct):
    """`TaskFailure.encode`, read back."""

    type: str | None
    message: str
    code: str
    retryable: bool | None
    details: msgspec.Raw


_pace: Final = msgspec.json.Decoder(tuple[float | int, float | int, float, float, int, bool])
_groups: Final = msgspec.json.Decoder(tuple[str, ...])
_error: Final = msgspec.json.Decoder(_Error)
_children: Final = msgspec.json.Decoder(Children)


def inserted(task: Task) -> list[Statement]:
    """What stores a new task. Whatever is still there under its id has been removed, and its row waited to go."""
    info = task.info
    fixed = (
        info.order, task.task_id, info.user_id, msgspec.json.encode(info.groups).decode(), info.name, info.created,
        info.cancellable, info.attempt, info.retry_of, info.parent_id, info.kin.weight, info.kin.announced,
        info.kin.depth, info.kin.origin,
    )  # fmt: skip
    return [("DELETE FROM tasks WHERE task_id = ?", (task.task_id,)), (_INSERT, fixed + _changing(task, None))]


def updated(task: Task, ended: int | None = None) -> Statement:
    """What stores another state of a task; ``ended`` counts its end."""
    return _UPDATE, (*_changing(task, ended), task.info.order)


def _changing(task: Task, ended: int | None) -> tuple[Any, ...]:
    info, pace = task.info, task.pace
    return (
        str(task.status), task.version, task.message, task.current, task.total, task.percent, info.unit,
        info.metadata_json,
        None if pace is None else msgspec.json.encode(msgspec.structs.astuple(pace)).decode(),
        info.started, task.updated, info.stalled, task.cancel_requested, task.output_size, task.output_more,
        info.lease, info.acknowledged, task.completed, task.result_json,
        None if task.error is None else task.error.encode().decode(),
        None if task.children is None else msgspec.json.encode(task.children).decode(), info.kin.retried_by,
        info.holder, ended,
    )  # fmt: skip


def retold(task: Task) -> Statement:
    """What stores what may still change of a task that has ended."""
    return (
        "UPDATE tasks SET version = ?, retried_by = ? WHERE ord = ?",
        (task.version, task.info.kin.retried_by, task.info.order),
    )


def removed(order: int, floor: int) -> list[Statement]:
    """What takes out a task; ``floor`` is the version that it has left with."""
    return [
        ("DELETE FROM tasks WHERE ord = ?", (order,)),
        ("DELETE FROM output WHERE ord = ?", (order,)),
        ("UPDATE memory SET floor = max(floor, ?)", (floor,)),
    ]


def written(order: int, stream: str, start: int, data: bytes, kept_from: int) -> list[Statement]:
    """What stores a piece of output, and lets go of the pieces that end before what is kept of the stream."""
    return [
        ("INSERT OR REPLACE INTO output VALUES (?, ?, ?, ?)", (order, stream, start, data)),
        (
            "DELETE FROM output WHERE ord = ? AND stream = ? AND start < ? AND start + length(data) <= ?",
            (order, stream, min(start, kept_from), kept_from),
        ),
    ]


def _task(row: Sequence[Any], epoch: str) -> tuple[Task, int | None]:
    """A row of `_SELECT` as a task, and the number of its end."""
    (
        order, task_id, user_id, groups, name, created, cancellable, attempt, retry_of, parent_id,
        weight, announced, depth, origin, status, version, message, current, total, percent, unit, metadata, pace,
        started, updated, stalled, cancel_requested, output_size, output_more, lease, acknowledged, completed, result,
        error, children, retried_by, holder, ended,
    ) = row  # fmt: skip
    info = make_info(
        task_id, user_id, _groups.decode(groups), name, epoch, created, bool(cancellable), attempt, retry_of, parent_id,
        order, unit, metadata, started, stalled, lease, acknowledged,
        kin_of(1.0 if weight is None else weight, announced, depth or 0, origin, retried_by), holder,
    )  # fmt: skip
    moved = TaskStatus(status)
    failure = None
    if error is not None:
        read = _error.decode(error)
        details = bytes(read.details)
        failure = TaskFailure(
            read.type, read.message, read.code, read.retryable, None if details == b"null" else details
        )
    return Task(
        task_id, info, moved, moved.finished, version, message, current, total, percent,
        None if pace is None else Pace(*_pace.decode(pace)), updated, cancel_requested, output_size, completed, result,
        failure, output_more, None if children is None else _children.decode(children),
    ), ended  # fmt: skip


class TaskFile:
    """The file, opened and locked. It is made, folders included, where there is none.

    Raises `ConfigError` for a file that is another process's, damaged, something else, or of a newer version; and
    `RegistryUnavailable` where the system does not let us have it now. Write from one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path = path.resolve()  # two names of one file have one lock
        with _telling(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            try:
                _make(path)
                self._database = sqlite3.connect(
                    path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare()
                    #: An id that is new with the file; and see `_SCHEMA`.
                    self.epoch, self.floor = self._read("SELECT epoch, floor FROM memory").fetchone()
                except BaseException:
                    self._database.close()
                    raise
            except BaseException:
                os.close(self._lock)
                raise
        self._durable = True

    def _prepare(self) -> None:
        made_by, version = (self._read(f"PRAGMA {what}").fetchone()[0] for what in ("application_id", "user_version"))
        if self._read("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            if made_by != APPLICATION_ID:
                raise ConfigError(f"{self.path} is a database of something else: give the tasks a file of their own.")
            if version > SCHEMA_VERSION:
                raise ConfigError(
                    f"{self.path} was written by a newer version of realtime-progress (schema {version}, this one "
                    f"reads up to {SCHEMA_VERSION})."
                )
        self._read("PRAGMA journal_mode = WAL").fetchone()
        self._read("PRAGMA synchronous = FULL")
        self._read(f"PRAGMA journal_size_limit = {16 * 1024 * 1024}")
        if not version:
            new: list[Statement] = [(statement, ()) for statement in _SCHEMA]
            new.append(("INSERT INTO memory VALUES (?, 0)", (secrets.token_hex(8),)))
            new += [(f"PRAGMA application_id = {APPLICATION_ID}", ()), (f"PRAGMA user_version = {SCHEMA_VERSION}", ())]
            self._transact(new)
            return
        there = {column for _, column, *_ in self._read("PRAGMA table_info(tasks)")}
        added: list[Statement] = [
            (f"ALTER TABLE tasks ADD COLUMN {column}", ()) for column in _ADDED if column.split()[0] not in there
        ]
        if added:
            self._transact([*added, (f"PRAGMA user_version = {SCHEMA_VERSION}", ())])

    def _read(self, statement: str) -> sqlite3.Cursor:
        return self._database.execute(statement)

    def tasks(self) -> Iterator[tuple[Task, int | None]]:
        """All tasks, each with the number of its end: those that have none first, then in the order of the ends."""
        with _telling(self.path):
            for row in self._read(_SELECT):
                yield _task(row, self.epoch)

    def output(self) -> Iterator[tuple[int, str, int, bytes]]:
        """All pieces of output, by task and stream, in order: the task's order, the stream, where it begins, text."""
        with _telling(self.path):
            yield from self._read("SELECT ord, stream, start, data FROM output ORDER BY ord, stream, start")

    def write(self, statements: Iterable[Statement], *, durable: bool) -> None:
        """Do all of it or nothing. Raises sqlite3.Error, and what a value raises that SQLite does not take."""
        if durable is not self._durable:
            self._read(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        self._transact(statements)

    def try_room(self, size: int) -> None:
        """Write so many bytes and take them out again; raises as `write` does if there is no room for them.

        (They belong to no task. Should the process end in between, they are taken out with the next opening.)
        """
        self.write([("INSERT OR REPLACE INTO output VALUES (-1, '', 0, zeroblob(?))", (size,))], durable=True)
        self.write([("DELETE FROM output WHERE ord = -1", ())], durable=True)

    def _transact(self, statements: Iterable[Statement]) -> None:
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                execute(*statement)
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._database.rollback()
            raise

    def close(self) -> None:
        """Let go of the file, then of its lock."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        lock, self._lock = self._lock, -1
        os.close(lock)

    def abandon(self) -> None:
        """In a forked child: let go of the copy of the lock. The database is the parent's (https://sqlite.org/howtocorrupt
        .html, 2.6): it is neither used nor closed here.
        """
        _abandoned.append(self._database)
        if self._lock >= 0:  # else it was closed before, and the number may be something else's by now
            os.close(self._lock)


#: Keeps the databases of the parent from being closed by a child that has no other use for them.
_abandoned: list[sqlite3.Connection] = []


def _make(path: Path) -> None:
    """Make the file, if there is none, for its owner alone: what tasks say is for those who may see them. (SQLite would
    go by the umask; the files that it keeps beside this one get the mode of this one.) One that is there was given its
    mode by somebody, who may want a backup to read it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _lock(path: Path) -> int:
    """Take the lock of a file of tasks; it is let go when the descriptor is closed, at the latest with the process."""
    try:
        import fcntl
    except ImportError:  # Windows
        raise ConfigError(
            "sqlite:/// needs the locks of a POSIX system; REALTIME_REGISTRY may be 'memory://'."
        ) from None
    beside = f"{path}-lock"
    descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d" % os.getpid(), 0)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace")
        os.close(descriptor)
        raise ConfigError(
            f"{path} belongs to another server (process {owner or 'unknown'}): a file of tasks is one process's own. "
            "Stop that one, run one worker with several threads, or name another file in REALTIME_REGISTRY."
        ) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Says of what goes wrong whose fault it is, and names the file."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:  # full, locked, read-only, not allowed
        raise RegistryUnavailable(f"The file of tasks {path} cannot be opened: {error}.") from error
    except (sqlite3.DatabaseError, msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path} is damaged, or no file of tasks ({error}). Move it away with {path.name}-wal to begin anew."
        ) from error
