"""The items of `update_many`: what each may be, and which one is wrong.

What they may say is up to `update_task_progress` alone. It is asked over a `Taker`, a registry that stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from .errors import InvalidType, InvalidValue
from .progress import MAX_NUMBER
from .registry.base import Update

_NUMBERS: Final = (int, float)
#: What an update may be given by name.
_NAMES: Final = ("progress", "message", "current", "total", "percent", "advance", "unit", "metadata")


class Taker:
    """In the place of a registry: hands back what it would be told."""

    def update(self, *update: Any) -> Any:
        """The arguments."""
        return update


def look_at(update_task_progress: Callable[..., Any], max_message: int) -> Callable[[int, Any], Update]:
    """A function of an item's place and the item, which returns it as a registry takes it.

    ``update_task_progress`` is that of a `Taker`. The function raises `InvalidValue`, with the place in ``field``.
    """

    def look(place: int, item: Any) -> Update:
        try:
            task_id, progress = item
        except (TypeError, ValueError):
            raise InvalidType(f"updates[{place}]", "a pair is needed: (task_id, progress)") from None
        kind = type(progress)
        # Plain values pass at once, as they do there.
        if type(task_id) is str:
            if kind in _NUMBERS and 0 <= progress <= 100:
                return task_id, None, None, None, progress, None, None, None
            if kind is str and len(progress) <= max_message and progress.isascii():
                return task_id, progress, None, None, None, None, None, None
            if kind is dict:
                message = current = advance = None
                for name, value in progress.items():
                    if name == "current" and type(value) in _NUMBERS and -MAX_NUMBER <= value <= MAX_NUMBER:
                        current = value
                    elif name == "advance" and type(value) in _NUMBERS and -MAX_NUMBER <= value <= MAX_NUMBER:
                        advance = value
                    elif name == "message" and type(value) is str and len(value) <= max_message and value.isascii():
                        message = value
                    else:
                        break
                else:
                    return task_id, message, current, None, None, advance, None, None
        update: Update
        try:
            if isinstance(progress, Mapping):
                update = _by_name(update_task_progress, task_id, progress)
            elif progress is None:
                raise InvalidType("progress", "None; a message, a percent or a dict is needed")
            else:
                update = update_task_progress(task_id, progress)
        except InvalidValue as error:
            raise type(error)(f"updates[{place}].{error.field}", error.problem) from None
        return update

    return look


def _by_name(update_task_progress: Callable[..., Any], task_id: Any, progress: Mapping[str, Any]) -> Any:
    try:
        return update_task_progress(task_id, **progress)
    except InvalidValue:
        raise
    except TypeError:  # a name that it does not know, found out by trying: most items have none
        for name in progress:
            if name not in _NAMES:
                raise InvalidValue(f"{name!s:.80}", f"is not one of {', '.join(_NAMES)}") from None
        raise
