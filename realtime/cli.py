"""The commands: ``realtime demo``, ``realtime serve APP``, ``realtime ticket APP``, ``realtime keys``; the same under
``flask realtime``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo, pass_script_info

from . import concurrency, serving
from .errors import RealtimeError
from .keys_cli import keys

DEFAULT_PORT: Final = 5000


def _listening(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True)(command)
    return click.option(
        "--host", default="127.0.0.1", show_default=True, help="0.0.0.0 lets other machines in."
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
def demo(host: str, port: int) -> None:
    """Serve the demo page: real jobs, seen live by two users."""
    concurrency.set_server_mode("eventlet")
    from .demo import create_app

    _serve(create_app(), host, port, "The demo")


@main.command()
@click.argument("app")
@_listening
def serve(app: str, host: str, port: int) -> None:
    """Serve APP, a ``module:app`` or ``module:factory``, to browsers.

    Views, handlers and jobs run on native threads; nothing is monkey-patched. No TLS here: that is a proxy's work.
    """
    concurrency.set_server_mode("eventlet")
    _serve(_load(ScriptInfo(app_import_path=app)), host, port, app)


@main.command()
@click.argument("app")
@click.option("--user", help="The ticket's holder is this user.")
@click.option("--task", help="The ticket's holder may view this one task.")
def ticket(app: str, user: str | None, task: str | None) -> None:
    """Print a signed ticket of APP for a user or for one task."""
    _ticket(_load(ScriptInfo(app_import_path=app)), user, task)


main.add_command(keys)


@click.group("realtime", cls=_Commands)
def flask_commands() -> None:
    """Live progress: serve this app, make tickets and worker keys, see the demo."""


flask_commands.add_command(demo)
flask_commands.add_command(keys)


@flask_commands.command("serve")
@_listening
@pass_script_info
def flask_serve(info: ScriptInfo, host: str, port: int) -> None:
    """Serve this app to browsers, on the server that `realtime serve` runs."""
    concurrency.set_server_mode("eventlet")
    app = _load(info)
    _serve(app, host, port, app.name)


@flask_commands.command("ticket")
@click.option("--user", help="The ticket's holder is this user.")
@click.option("--task", help="The ticket's holder may view this one task.")
@pass_script_info
def flask_ticket(info: ScriptInfo, user: str | None, task: str | None) -> None:
    """Print a signed ticket for a user or for one task."""
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


def _serve(app: Flask, host: str, port: int, what: str) -> None:
    listener = serving.listen(host, port)
    port = listener.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    serving.serve(
        app, listener, ready=lambda: click.echo(f"{what} runs at http://{shown}:{port}/  (Ctrl-C stops it)")
    )  # fmt: skip
