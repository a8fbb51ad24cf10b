"""The commands: ``realtime demo``, ``realtime serve APP``, ``realtime ticket APP``, ``realtime keys``, ``realtime
top``, and ``realtime run`` for workers; most of them under ``flask realtime``, too."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Callable
from typing import Any, Final

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo, pass_script_info

from . import concurrency, serving, workers
from .client import Client
from .command import FAILED
from .command import run as run_command
from .errors import ConfigError, RealtimeError, SeveralProcesses
from .keys_cli import keys
from .top_cli import top
from .valkey import Valkey
from .values import printable

DEFAULT_PORT: Final = 5000


def _listening(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option(
        "--workers", "count", type=click.IntRange(1, 64), default=1, show_default=True,
        help="Processes that share the port. SIGHUP restarts them one by one.",
    )(command)  # fmt: skip
    command = click.option(
        "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
        help="0 takes a free one.",
    )(command)  # fmt: skip
    return click.option(
        "--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 lets other machines in."
    )(command)  # fmt: skip


class _Commands(click.Group):
    """Shows our errors as one sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RealtimeError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realtime-progress", prog_name="realtime")
def main() -> None:
    """Live progress for Flask: tasks that browsers see at once, without polling."""


@main.command()
@_listening
def demo(host: str, port: int, count: int) -> None:
    """Serve the demo page: real jobs, seen live by two users. It needs no setting."""
    concurrency.set_server_mode("eventlet")
    if count > 1:
        os.environ.setdefault("REALTIME_DEMO_KEY", secrets.token_urlsafe(32))
    from .demo import create_app

    _serve(create_app(), host, port, count, "The demo")


@main.command()
@click.argument("app")
@_listening
def serve(app: str, host: str, port: int, count: int) -> None:
    """Serve APP, module:app or module:factory, to browsers.

    Views, handlers and jobs run on native threads; nothing is monkey-patched. It speaks plain HTTP: TLS is the work of
    a proxy in front of it.

    Several processes need a store that they share: REALTIME_REGISTRY, or, where that is not set, a Valkey that is
    started for as long as the command runs. SIGTERM or Ctrl-C stops it.
    """
    concurrency.set_server_mode("eventlet")
    _serve(_load(ScriptInfo(app_import_path=app)), host, port, count, app)


@main.command()
@click.argument("app")
@click.option("--user", help="The ticket's holder is this user.")
@click.option("--task", help="The ticket's holder may view this one task.")
def ticket(app: str, user: str | None, task: str | None) -> None:
    """Print a signed ticket of APP for a user or for one task.

    It lets a page without a login watch, for REALTIME_TICKET_AGE seconds: connect({ticket}).
    """
    _ticket(_load(ScriptInfo(app_import_path=app)), user, task)


main.add_command(keys)
main.add_command(top)


@main.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--url", envvar="REALTIME_URL", required=True, help="Where the app is served, or redis://…; else REALTIME_URL."
)
@click.option("--user", required=True, help="Whose task it is.")
@click.option("--name", help="What the task is called; else as the command.")
@click.option("--task-id", help="The id of the task; else one is made.")
@click.option("--parent", help="The id of the user's task that it is a part of.")
@click.option(
    "--grace", type=click.FloatRange(0, 3600), default=10.0, show_default=True,
    help="Seconds from a request to stop (SIGTERM) to SIGKILL.",
)  # fmt: skip
@click.option(
    "--lease", type=click.FloatRange(1, 86_400), default=30.0, show_default=True,
    help="Seconds without a sign of life of this program after which the task fails.",
)  # fmt: skip
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    url: str, user: str, name: str | None, task_id: str | None, parent: str | None, grace: float, lease: float,
    command: tuple[str, ...],
) -> None:  # fmt: skip
    """Run any command as a task.

    The page shows its output, its exit code, and a Cancel button that stops it. After -- all options are the command's:

    \b
        realtime run --user 42 --name Build -- make -j2 all

    The worker key is read from REALTIME_KEY; it needs the scopes create and report.

    The exit code is that of the command (128 + n if signal n ended it; 127 if it was not found, 126 if it cannot be
    run); 125 if the server could not be told of the task: then the command is not run.
    """
    try:
        with Client(url, lease=lease) as client:
            environ = {**os.environ, "REALTIME_URL": url}
            code = run_command(
                client, command, user_id=user, name=name, task_id=task_id, parent_id=parent, grace=grace,
                environ=environ,
            )  # fmt: skip
    except RealtimeError as error:
        click.echo(f"realtime run: {printable(str(error))}", err=True)  # it may be the server's word
        code = FAILED
    sys.exit(code)


@click.group("realtime", cls=_Commands)
def flask_commands() -> None:
    """Live progress: serve this app, make tickets and worker keys, see the demo."""


flask_commands.add_command(demo)
flask_commands.add_command(keys)
flask_commands.add_command(top)


@flask_commands.command("serve")
@_listening
@pass_script_info
def flask_serve(info: ScriptInfo, host: str, port: int, count: int) -> None:
    """Serve this app to browsers, on the server that `realtime serve` runs."""
    concurrency.set_server_mode("eventlet")
    app = _load(info)
    _serve(app, host, port, count, app.name)


@flask_commands.command("ticket")
@click.option("--user", help="The ticket's holder is this user.")
@click.option("--task", help="The ticket's holder may view this one task.")
@pass_script_info
def flask_ticket(info: ScriptInfo, user: str | None, task: str | None) -> None:
    """Print a signed ticket for a user or for one task.

    It lets a page without a login watch, for REALTIME_TICKET_AGE seconds: connect({ticket}).
    """
    _ticket(_load(info), user, task)


def _load(info: ScriptInfo) -> Flask:
    try:
        return info.load_app()
    except NoAppException as error:
        raise click.ClickException(str(error)) from error


def _ticket(app: Flask, user: str | None, task: str | None) -> None:
    realtime = app.extensions.get("realtime")
    if realtime is None:
        raise click.ClickException(f"The app {app.name!r} has no Realtime: call Realtime(app).")
    click.echo(realtime.ticket(user, task_id=task))


def _serve(app: Flask, host: str, port: int, count: int, what: str) -> None:
    pair = workers.parent()
    if pair is not None:
        listener = serving.listen(host, port, shared=True)
        serving.serve(app, listener, ready=lambda: workers.obey(pair), shared=True)
    if count > 1:
        _serve_from_several(app, host, port, count, what)
    else:
        listener = serving.listen(host, port)
        port = listener.getsockname()[1]
        serving.serve(app, listener, ready=lambda: _tell(what, host, port))


def _serve_from_several(app: Flask, host: str, port: int, count: int, what: str) -> None:
    realtime = app.extensions.get("realtime")
    if realtime is None:
        raise ConfigError(f"The app {app.name!r} has no Realtime: call Realtime(app).")
    environ = dict(os.environ)
    with contextlib.ExitStack() as stack:
        with serving.explained(host, port):
            port = stack.enter_context(workers.reserve(host, port)).getsockname()[1]
        if "REALTIME_REGISTRY" in app.config or "FLASK_REALTIME_REGISTRY" in environ:
            scheme = realtime.config.registry.partition(":")[0]
            if scheme in ("memory", "sqlite"):
                raise SeveralProcesses(scheme)
            trouble, shared = _none, ""
        else:
            store = Valkey()
            stack.callback(store.stop)
            environ["FLASK_REALTIME_REGISTRY"], trouble, shared = (
                store.url,
                store.trouble,
                " and a Valkey that they share",
            )
        # The command that this process runs, but for the port, which may have been ours to choose.
        command = [sys.executable, *sys.orig_argv[1:], "--port", str(port)]
        how = f"{count} processes{shared}; Ctrl-C stops them"
        problem = workers.Workers(command, count, environ, lambda: _tell(what, host, port, how), trouble).run()
    if problem is not None:
        raise ConfigError(problem)


def _none() -> str | None:
    return None


def _tell(what: str, host: str, port: int, how: str = "Ctrl-C stops it") -> None:
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"{what} runs at http://{shown}:{port}/  ({how})")
