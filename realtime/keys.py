"""Worker keys: what lets a worker in another process report over HTTP, and the file that they live in.

A key is ``rt_<id>_<secret>``: 8 hexadecimal digits that find it, and 256 random bits. It is shown once, when it is
made; the file holds its SHA-256, which is compared in constant time. (A hash that is slow on purpose would protect a
secret that can be guessed; 256 random bits cannot.) What a key may do are its scopes:

* ``create`` tasks, ``report`` on them (progress, output, ends; and read the one task), ``read`` them, ``control`` them
  (ask to stop, remove);
* ``user:<id>`` and ``group:<id>``, any number: only the tasks of these users, or shared with these groups.

Keys of one name are one worker's: while it is given its new key, the old one still works (`rotate`).

The file is JSON, written whole into its place, with mode 0600. A server reads it again when it has changed, so a key
that is revoked stops working at once. Whoever edits it holds a lock on its folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from . import values
from .auth import Grant
from .errors import ConfigError, InsufficientScope, InvalidValue, KeyExpired, KeyInvalid
from .task import Task

log = logging.getLogger("realtime")

PREFIX: Final = "rt_"
#: What a key may let its holder do.
ACTIONS: Final = ("create", "report", "read", "control")
#: Keys in one file.
MAX_KEYS: Final = 1_000
#: Bytes of the file.
MAX_FILE: Final = 4 * 1024 * 1024

_SHAPE: Final = re.compile(r"rt_[0-9a-f]{8}_")
_KEY: Final = re.compile(r"rt_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PERIOD: Final = re.compile(r"([1-9][0-9]{0,5})([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class WorkerKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key as it is stored."""

    #: 8 hexadecimal digits, part of the key: finds it, and is no secret.
    id: str
    #: Whose it is; a worker that is given a new key has two of one name for a while.
    name: str
    #: Of the whole key, in hexadecimal digits.
    sha256: str
    scopes: tuple[str, ...]
    created: datetime
    #: When it stops working; None = never.
    expires: datetime | None = None

    def expired(self, now: float) -> bool:
        """Whether it has stopped working at ``now``, in seconds since 1970."""
        return self.expires is not None and self.expires.timestamp() <= now

    def grant(self) -> WorkerGrant:
        """What it lets its holder do."""
        actions = frozenset(scope for scope in self.scopes if scope in ACTIONS)
        users = _ids(self.scopes, "user:")
        groups = _ids(self.scopes, "group:")
        return WorkerGrant(
            name=self.name, key_id=self.id, actions=actions, bound=bool(users or groups), users=users, of_groups=groups
        )


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerGrant(Grant):
    """What the holder of a key may do. ``bound`` keys reach the tasks of ``users`` and ``of_groups`` only."""

    name: str = ""
    #: Of the very key: one that is made anew under the name of another may have other scopes.
    key_id: str = dataclasses.field(default="", compare=False)
    actions: frozenset[str] = frozenset()
    bound: bool = False
    users: frozenset[str] = frozenset()
    of_groups: frozenset[str] = frozenset()

    def may_view(self, task: Any) -> bool:
        """Whether it reaches a task (or a `Removed`)."""
        return not self.bound or task.user_id in self.users or not self.of_groups.isdisjoint(task.groups)

    def may_control(self, task: Task) -> bool:
        """Whether it may ask the task to stop, and remove it."""
        return "control" in self.actions and self.may_view(task)

    def need(self, *actions: str) -> None:
        """Raise `InsufficientScope` unless the key has one of these actions."""
        if self.actions.isdisjoint(actions):
            raise InsufficientScope(f"The key {self.name!r} has not the scope {' or '.join(actions)}.")

    def need_place(self, user_id: str | None, groups: Iterable[str]) -> None:
        """Raise `InsufficientScope` unless it may make a task of this user (None: of nobody) and these groups."""
        shared = frozenset(groups)
        owner = user_id in self.users or (user_id is None and bool(shared))
        if self.bound and not (owner and shared <= self.of_groups):
            raise InsufficientScope(f"The key {self.name!r} makes no tasks of this user and these groups.")


class Keys:
    """The keys of a file, as they are now. ``clock`` gives seconds since 1970."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._seen: tuple[object, dict[str, WorkerKey]] = (None, {})

    def check(self, text: str) -> WorkerGrant:
        """What a key grants. Raises `KeyInvalid`, `KeyExpired`, and `ConfigError` when the file cannot be read."""
        match = _KEY.fullmatch(text)
        known = self._known().get(match[1]) if match is not None else None
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        if not hmac.compare_digest(digest, "" if known is None else known.sha256) or known is None:
            raise KeyInvalid
        if known.expired(self._clock()):
            raise KeyExpired
        return known.grant()

    def _known(self) -> dict[str, WorkerKey]:
        """What the file holds. One look at its times per call; it is read when they have changed."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            mark: object = None  # a file that is still to be made holds no key
        except OSError as error:
            raise _unreadable(self._path, error) from None
        else:
            mark = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_ctime_ns)
        seen, keys = self._seen
        if mark != seen:
            keys = {key.id: key for key in read(self._path)}
            self._seen = (mark, keys)
            log.info("%d worker keys were read.", len(keys))
        return keys if mark is not None else {}


def looks_like_one(text: str) -> bool:
    """Whether a bearer token means to be a worker key: other tokens are the host app's own, or tickets."""
    return _SHAPE.match(text) is not None


def read(path: Path) -> list[WorkerKey]:
    """The keys of a file, the oldest first; none if there is no file.

    Raises `ConfigError` for a file that others may write, that cannot be read, or that is none of ours.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreadable(path, error) from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"{path} may be written by others, who could let themselves in. Say: chmod 600 {path}")
    try:
        if len(text) > MAX_FILE:
            raise ValueError(f"more than {MAX_FILE} bytes")
        return list(_DECODER.decode(text).keys)
    except (ValueError, RecursionError) as error:  # which msgspec's errors are, and those of an encoding
        raise ConfigError(f"{path} is not a file of worker keys: {error}.") from None


def create(
    path: Path, scopes: Iterable[str], *, name: str | None = None, expires: datetime | None = None
) -> tuple[str, WorkerKey]:
    """Make a key. Returns it (it can be read nowhere later) and how it is stored.

    Raises `InvalidValue` for scopes and names that are none, and a name that is taken; `ConfigError`.
    """
    allowed = check_scopes(scopes)
    if name is not None and _NAME.fullmatch(name) is None:
        raise InvalidValue("name", f"{name[:80]!a}; a name has 1 to 64 of the characters A-Z a-z 0-9 . _ -")
    with _editing(path) as keys:
        text, made = _make(name, allowed, expires)
        if any(key.name == made.name and not key.expired(time.time()) for key in keys):
            raise InvalidValue("name", f"there is a key {made.name!r}; to replace it, say: realtime keys rotate {name}")
        keys.append(made)
    return text, made


def rotate(path: Path, name: str, *, grace: timedelta, expires: datetime | None = None) -> tuple[str, WorkerKey]:
    """Make a new key in the place of one, with its name and scopes. The old one works for ``grace`` longer.

    Raises `InvalidValue` when there is no such key, or two of that name work already.
    """
    with _editing(path) as keys:
        now = datetime.now(UTC)
        names = {key.name for key in keys if name in (key.name, key.id)}
        living = [key for key in keys if key.name in names and not key.expired(now.timestamp())]
        if not living:
            raise InvalidValue("name", f"no key {name[:80]!a} works")
        if len(living) > 1:
            raise InvalidValue(
                "name", f"two keys {name!r} work already ({', '.join(key.id for key in living)}); revoke one"
            )
        old = living[0]
        ends = now + grace if old.expires is None else min(old.expires, now + grace)
        keys[keys.index(old)] = msgspec.structs.replace(old, expires=ends)
        text, made = _make(old.name, old.scopes, expires)
        keys.append(made)
    return text, made


def revoke(path: Path, name: str) -> list[WorkerKey]:
    """Take keys out of the file, by id or by name; they stop working now. Raises `InvalidValue` if there is none."""
    with _editing(path) as keys:
        gone = [key for key in keys if name in (key.name, key.id)]
        if not gone:
            raise InvalidValue("name", f"there is no key {name[:80]!a}")
        keys[:] = [key for key in keys if key not in gone]
    return gone


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Scopes as they are stored, each once; a text may hold several with commas between. Raises `InvalidValue`."""
    found = tuple(dict.fromkeys(part.strip() for scope in scopes for part in scope.split(",") if part.strip()))
    for scope in found:
        kind, colon, name = scope.partition(":")
        if colon and kind == "user":
            values.user_id(name, "scope")
        elif colon and kind == "group":
            values.task_id(name, "scope")
        elif scope not in ACTIONS:
            raise InvalidValue(
                "scope", f"{scope[:80]!a} is not one of {', '.join(ACTIONS)}, user:<id>, group:<id>"
            )  # fmt: skip
    if not set(found) & set(ACTIONS):
        raise InvalidValue("scope", f"a key needs at least one of {', '.join(ACTIONS)}")
    return found


def moment(text: str) -> datetime:
    """``90d`` (s, m, h, d, w from now), ``2027-01-31`` or an RFC 3339 time; in UTC. Raises `InvalidValue`."""
    found = period(text)
    if found is not None:
        return datetime.now(UTC) + found
    try:
        when = datetime.fromisoformat(text)
        when = when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidValue("expires", f"{text[:40]!a}; give 12h, 90d, 2027-01-31 or 2027-01-31T12:00:00Z") from None
    if when <= datetime.now(UTC):
        raise InvalidValue("expires", f"{text} is over")
    return when


def period(text: str) -> timedelta | None:
    """``30m``, ``12h``, ``90d``; None for what is no such text."""
    match = _PERIOD.fullmatch(text)
    return None if match is None else timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


# Helpers.


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[WorkerKey, ...]

    def __post_init__(self) -> None:
        if self.version != 1:
            raise ValueError(f"version {self.version}; this release reads version 1")


_DECODER: Final = msgspec.json.Decoder(_File)


def _ids(scopes: Iterable[str], prefix: str) -> frozenset[str]:
    return frozenset(scope.removeprefix(prefix) for scope in scopes if scope.startswith(prefix))


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"The worker keys in {path} cannot be read: {error.strerror or error}.")


def _make(name: str | None, scopes: tuple[str, ...], expires: datetime | None) -> tuple[str, WorkerKey]:
    key_id = secrets.token_hex(4)
    text = f"{PREFIX}{key_id}_{secrets.token_urlsafe(32)}"
    now = datetime.now(UTC).replace(microsecond=0)
    return text, WorkerKey(key_id, name or key_id, hashlib.sha256(text.encode()).hexdigest(), scopes, now, expires)


@contextlib.contextmanager
def _editing(path: Path) -> Iterator[list[WorkerKey]]:
    """The keys of a file, to be changed: stored when the block ends, unless it raises."""
    import fcntl  # Windows has none; it can serve, and read keys

    path = Path(os.path.realpath(path))  # what a link leads to is replaced, not the link
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"The worker keys in {path} cannot be changed: {error.strerror or error}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read(path)
        yield keys
        if len(keys) > MAX_KEYS:
            raise InvalidValue("keys", f"{MAX_KEYS} keys are in {path}; revoke some")
        try:
            _store(path, msgspec.json.encode(_File(1, tuple(keys))))
            os.fsync(folder)
        except OSError as error:
            raise ConfigError(f"The worker keys in {path} cannot be written: {error.strerror or error}.") from None
    finally:
        os.close(folder)


def _store(path: Path, text: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(text, indent=2) + b"\n")
            with contextlib.suppress(FileNotFoundError):
                # Whom the file was given to (a server that is another user, or reads by its group) keeps it.
                former = path.stat()
                os.fchmod(descriptor, stat.S_IMODE(former.st_mode) & 0o644 | 0o600)
                if (former.st_uid, former.st_gid) != (os.geteuid(), os.getegid()):
                    with contextlib.suppress(PermissionError):
                        os.fchown(descriptor, former.st_uid, former.st_gid)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
