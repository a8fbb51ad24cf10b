"""Who may see what. Pure functions and signed tickets; nothing here knows Flask.

A viewer comes with a *grant*: the user and groups that ``identify`` named, or what a ticket says. Deny by default:
a task is visible to its owner, to members of its groups, and to holders of a ticket for it; only the owner
may cancel or remove it.

Tickets are signed with itsdangerous (https://itsdangerous.palletsprojects.com/) from the app's ``SECRET_KEY`` under a
salt of their own, so that nothing else the app signs passes for one. They are not encrypted, and hold no secret.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.signer import SigningAlgorithm

from . import values
from .errors import ConfigError, InvalidValue, TicketExpired, TicketInvalid
from .task import Task

#: A part of what is signed: a ticket of this package and version is never mistaken for another token of the app.
SALT: Final = "realtime.ticket.v1"
#: Groups that one identity may carry: each is a room that its viewers join.
MAX_GROUPS: Final = 1_000
#: Fewer characters than this can be guessed.
MIN_SECRET: Final = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """What ``identify`` may return: the user, and the groups whose tasks they may see.

    ``user_id`` is a ``str`` or an ``int`` of 1 to 128 characters; ``groups`` are at most 1,000 ids such as ``team:7``.
    They are looked at when they are used: `InvalidValue` is raised then.
    """

    user_id: str | int
    groups: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a viewer or a request may see. ``task_ids`` are the single tasks that a ticket opens."""

    user_id: str | None = None
    groups: tuple[str, ...] = ()
    task_ids: frozenset[str] = frozenset()

    def may_view(self, task: Any) -> bool:
        """Whether they may see a task (or a `Removed`)."""
        return (
            (task.user_id is not None and task.user_id == self.user_id)
            or task.task_id in self.task_ids
            or any(group in self.groups for group in task.groups)
        )

    def may_control(self, task: Task) -> bool:
        """Whether they may cancel and remove it: only the owner may."""
        return task.user_id is not None and task.user_id == self.user_id


def grant_of(identity: Any) -> Grant | None:
    """The grant of what ``identify`` returned: a user id, an `Identity` or None. None if that names nobody.

    Raises `InvalidValue` / `InvalidType` naming ``user_id`` or ``groups``.
    """
    if identity is None:
        return None
    if not isinstance(identity, Identity):
        identity = Identity(identity)
    grant = Grant(values.user_id(identity.user_id), values.groups(identity.groups, most=MAX_GROUPS))
    return grant if grant.user_id is not None or grant.groups else None


class _OneCall(SigningAlgorithm):
    """HMAC with SHA-1, as itsdangerous signs by default, without a Python object for it."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha1")


class Tickets:
    """Sign and verify tickets. ``max_age`` in seconds."""

    def __init__(self, secret_key: str | bytes, max_age: float) -> None:
        self._serializer = URLSafeTimedSerializer(secret_key, salt=SALT)
        # What the serializer makes of the secret for each ticket: half the time of verifying one, and every viewer of
        # a page that comes back has one.
        key = self._serializer.make_signer().derive_key()
        self._signer = TimestampSigner(key, salt=SALT, key_derivation="none", algorithm=_OneCall())
        self._max_age = max_age

    def issue(self, user_id: Any = None, *, task_id: Any = None) -> str:
        """A ticket that lets its holder be ``user_id``, or view the one task ``task_id`` (which need not exist yet)."""
        if (user_id is None) == (task_id is None):
            raise InvalidValue("ticket", "give a user_id or a task_id, one of the two")
        if task_id is not None:
            return str(self._serializer.dumps({"t": values.task_id(task_id)}))
        return str(self._serializer.dumps({"u": values.user_id(user_id)}))

    def verify(self, ticket: Any) -> Grant:
        """What a ticket grants. Raises `TicketExpired` or `TicketInvalid`."""
        if not isinstance(ticket, str) or len(ticket) > 4096 or not ticket.isascii():
            raise TicketInvalid
        try:
            claims = self._serializer.load_payload(self._signer.unsign(ticket, max_age=int(self._max_age)))
        except SignatureExpired:
            raise TicketExpired from None
        except BadData:
            raise TicketInvalid from None
        match claims:
            case {"u": str(user_id)}:
                return Grant(user_id)
            case {"t": str(task_id)}:
                return Grant(task_ids=frozenset((task_id,)))
        raise TicketInvalid


def combine(identity: Grant | None, ticket: Grant | None) -> Grant | None:
    """What somebody may see who is identified and also brought a ticket.

    A ticket for a user stands alone, since whoever passes one means that user; one for a task adds to the identity.
    """
    if identity is None or ticket is None or ticket.user_id is not None:
        return ticket or identity
    return Grant(identity.user_id, identity.groups, identity.task_ids | ticket.task_ids)


def check_secret(secret_key: Any) -> str | bytes:
    """The app's ``SECRET_KEY`` if it is fit to sign with.

    Raises `ConfigError` with a ready-made line to paste when it is missing or short.
    """
    if isinstance(secret_key, str | bytes) and len(secret_key) >= MIN_SECRET:
        return secret_key
    state = "is not set" if not secret_key else f"has fewer than {MIN_SECRET} characters"
    raise ConfigError(
        f"SECRET_KEY {state}, and tickets are signed with it. Put this line into your configuration, "
        f"and keep it out of version control:\n\n    SECRET_KEY = {secrets.token_urlsafe(32)!r}\n"
    )
