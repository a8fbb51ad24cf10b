"""Why a task failed."""

from __future__ import annotations

from typing import Any

import msgspec


class TaskFailure(msgspec.Struct, frozen=True, gc=False):
    """Why a task failed: the wire's ``error``."""

    #: The class of the error, or a word in its place.
    type: str | None
    #: What the user reads.
    message: str
    #: A stable word to switch on.
    code: str
    #: Whether trying again may help; None = not known.
    retryable: bool | None = None
    #: ``details`` as JSON, encoded when the task failed.
    details_json: bytes | None = None

    @property
    def details(self) -> Any:
        """What else the job told, decoded anew at each access; None if nothing."""
        return None if self.details_json is None else msgspec.json.decode(self.details_json)

    def as_dict(self) -> dict[str, Any]:
        """The wire's ``error``."""
        return {
            "type": self.type,
            "message": self.message,
            "code": self.code,
            "retryable": self.retryable,
            "details": self.details,
        }

    def encode(self) -> bytes:
        """`as_dict` as JSON."""
        details = None if self.details_json is None else msgspec.Raw(self.details_json)
        return msgspec.json.encode(
            {
                "type": self.type,
                "message": self.message,
                "code": self.code,
                "retryable": self.retryable,
                "details": details,
            }
        )
