"""The module functions: the methods of the same names, on the Realtime of the current app or the only one there is."""

from __future__ import annotations

import gc
import inspect
import typing
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest

import realtime
from realtime import extension, lifecycle
from realtime.errors import NoRealtime, TaskNotFound
from realtime.extension import Realtime
from realtime.operations import Operations
from realtime.task import TaskStatus

NAMES = [
    "acknowledge_cancel",
    "append_output", "cancel_task", "complete_task", "create_task", "fail_task", "get_task_status", "heartbeat_task",
    "list_tasks",
    "remove_task", "retry_task", "update_many", "update_task_progress",
]  # fmt: skip


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What other tests have made is not there, and what a test makes is gone after it."""
    monkeypatch.setattr(extension, "_instances", type(extension._instances)())
    yield
    gc.collect()


def make(name: str) -> Realtime:
    app = flask.Flask(name)
    app.config["SECRET_KEY"] = "x" * 32
    return Realtime(app)


class Recorder:
    """Stands for a Realtime and notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Callable[..., str]:
        def method(*args: Any, **kwargs: Any) -> str:
            bound = inspect.signature(getattr(Operations, name)).bind(self, *args, **kwargs)
            bound.apply_defaults()
            del bound.arguments["self"]
            self.calls.append((name, bound.arguments))
            return f"what {name} returns"

        return method


def test_these_are_the_functions() -> None:
    """The module has them and no other, and the package exports each."""
    functions = inspect.getmembers(lifecycle, inspect.isfunction)
    own = [name for name, function in functions if function.__module__ == lifecycle.__name__]
    assert sorted(name for name in own if not name.startswith("_")) == NAMES
    for name in NAMES:
        assert getattr(realtime, name) is getattr(lifecycle, name)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_has_the_signature_of_its_method(name: str) -> None:
    """Names, kinds, defaults and types of all parameters agree, and so does what is returned."""
    function, method = getattr(lifecycle, name), getattr(Operations, name)
    _, *parameters = inspect.signature(method).parameters.values()
    assert list(inspect.signature(function).parameters.values()) == parameters
    assert typing.get_type_hints(function) == typing.get_type_hints(method)


@pytest.mark.parametrize("name", NAMES)
def test_a_function_hands_everything_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each argument arrives under its own name, and what the method returns comes back."""
    recorder = Recorder()
    monkeypatch.setattr(lifecycle, "_realtime", lambda: recorder)
    function = getattr(lifecycle, name)
    given = {parameter: f"the {parameter}" for parameter in inspect.signature(function).parameters}
    assert function(**given) == f"what {name} returns"
    assert recorder.calls == [(name, given)]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_hands_the_defaults_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is omitted is what the method takes for omitted."""
    recorder = Recorder()
    monkeypatch.setattr(lifecycle, "_realtime", lambda: recorder)
    function = getattr(lifecycle, name)
    parameters = inspect.signature(function).parameters
    needed = [f"the {name}" for name, parameter in parameters.items() if parameter.default is parameter.empty]
    function(*needed)
    defaults = {key: value.default for key, value in parameters.items() if value.default is not value.empty}
    assert recorder.calls == [(name, dict(zip(parameters, needed, strict=False)) | defaults)]


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_all_of_a_function(name: str) -> None:
    """What the method does is not only pointed at; and it is told whose method that is, and what else is raised."""
    told = inspect.getdoc(getattr(realtime, name)) or ""
    whole = inspect.getdoc(getattr(Operations, name)) or ""
    assert whole.splitlines()[0].endswith((".", ":"))
    assert told.startswith(whole)
    assert f"This is `Realtime.{name}`" in told.removeprefix(whole)
    assert "`NoRealtime`" in told


def test_the_only_realtime_needs_no_context() -> None:
    """A script, a thread or a timer calls the functions as they are."""
    rt = make("shop")
    realtime.create_task("t", "ada")
    realtime.update_task_progress("t", "Reading page 3")
    assert realtime.complete_task("t", {"rows": 3}).status is TaskStatus.COMPLETED
    assert rt.require("t").result == {"rows": 3}
    assert realtime.get_task_status("t") == rt.require("t")
    assert realtime.list_tasks("ada") == [rt.require("t")]
    realtime.remove_task("t")
    realtime.create_task("u", "ada")
    assert realtime.fail_task("u", "No.").status is TaskStatus.FAILED
    realtime.create_task("v", "ada")
    assert realtime.cancel_task("v", done=True).status is TaskStatus.CANCELLED


def test_the_app_of_the_context_goes_before() -> None:
    """With several apps the context says which one is meant."""
    shop, office = make("shop"), make("office")
    with shop.app.app_context():
        realtime.create_task("t", "ada")
        with office.app.app_context():
            assert realtime.get_task_status("t") is None
            with pytest.raises(TaskNotFound):
                realtime.update_task_progress("t", 1)
        assert realtime.get_task_status("t") == shop.require("t")
    assert office.get_task_status("t") is None


def test_several_without_a_context_are_named() -> None:
    """NoRealtime says which there are."""
    made = [make("shop"), make("office")]
    with pytest.raises(NoRealtime, match="'office', 'shop'"):
        realtime.create_task("t", "ada")
    assert [rt.get_task_status("t") for rt in made] == [None, None]


def test_none_at_all_is_an_error() -> None:
    """It says what to call."""
    with pytest.raises(NoRealtime, match=r"Realtime\(app\)"):
        realtime.create_task("t", "ada")


def test_an_app_without_one_does_not_borrow_anothers() -> None:
    """In the context of an app that has no Realtime, the only one of the process is not meant."""
    rt = make("shop")
    with flask.Flask("office").app_context(), pytest.raises(NoRealtime, match="'office'"):
        realtime.create_task("t", "ada")
    assert rt.get_task_status("t") is None


def test_an_app_that_is_gone_does_not_count() -> None:
    """Test suites make many apps: the last one that lives is the only one."""
    make("yesterday")
    gc.collect()
    rt = make("shop")
    assert realtime.create_task("t", "ada") == rt.require("t")
