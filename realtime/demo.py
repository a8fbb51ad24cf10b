"""The demo: one page on which Ada and Grace watch their own jobs. It uses the public API only, so copy what you like.

The page is ``templates/realtime/demo.html`` with ``static/demo.js``; the jobs are in ``demo_jobs.py``. A real app knows
from its session who somebody is, and says so by ``@rt.identify``. Here both users look at one page, so each of its two
connections brings a ticket that says whose it is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import metadata
from pathlib import Path
from typing import BinaryIO

from flask import Blueprint, Flask, Response, abort, jsonify, render_template, request, session
from werkzeug.exceptions import HTTPException

from realtime import Realtime, RealtimeError, Task, keys

from . import demo_jobs, demo_worker

USERS = {"ada": "Ada", "grace": "Grace"}
MAX_UNFINISHED = 20  # jobs of one user
MAX_FILE = 2_000_000_000  # bytes
MAX_WORKERS = 4  # processes at once, of all visitors; each has one
WORKER = "worker."  # how the ids of their tasks begin
MINE = "You have a worker already. Kill it, or wait for its end."

HERE = Path(__file__).parent
#: ``templates`` and ``static`` are in the installed package, and beside it in the source tree.
FILES = HERE if (HERE / "templates").is_dir() else HERE.parent
CODE = {
    "demo.py": HERE / "demo.py",
    "demo_jobs.py": HERE / "demo_jobs.py",
    "demo_worker.py": HERE / "demo_worker.py",
    "demo.js": FILES / "static" / "demo.js",
    "demo.html": FILES / "templates" / "realtime" / "demo.html",
}

rt = Realtime()
page = Blueprint("demo", __name__)


def create_app() -> Flask:
    """The app of ``realtime demo``. Its tickets are signed with a key of its own, which ends with it.

    (Several workers share one, which their parent has made.)
    """
    app = Flask(__name__, template_folder=str(FILES / "templates"), static_folder=None)
    app.secret_key = os.environ.get("REALTIME_DEMO_KEY") or secrets.token_urlsafe(32)
    app.config["MAX_CONTENT_LENGTH"] = MAX_FILE
    app.config.update(SESSION_COOKIE_NAME="realtime_demo", SESSION_COOKIE_SAMESITE="Lax")
    if "FLASK_REALTIME_WORKER_KEYS" not in os.environ:
        folder = tempfile.mkdtemp(prefix="realtime-demo-")
        weakref.finalize(app, shutil.rmtree, folder, ignore_errors=True)
        app.config["REALTIME_WORKER_KEYS"] = f"{folder}/keys.json"
    rt.init_app(app)
    app.register_blueprint(page)
    app.after_request(add_security_headers)
    return app


@page.get("/")
def index() -> str:
    chosen = request.args.get("as")
    return render_template(
        "realtime/demo.html", users=USERS, chosen=chosen if chosen in USERS else "ada", max_file=MAX_FILE,
        worker=workers_of_visitor(), lease=demo_worker.LEASE, at_store=store() is not None,
    )  # fmt: skip


@page.get("/tickets/<user>.json")
def ticket(user: str) -> Response:
    """What a connection of the page brings. A real app would ask first who is asking."""
    if user not in USERS:
        abort(404, "There are only Ada and Grace.")
    return answer({"ticket": rt.ticket(user)})


@page.post("/jobs/<kind>")
def start(kind: str) -> Response:
    """Start a job ``?as=ada``; for ``check`` and ``import`` the request's body is the file, and ``?name=`` its name."""
    user = user_of_request()
    name = request.args.get("name", "")[:150] or "a file"
    match kind:
        case "check":
            file, size = receive()
            task = rt.start(demo_jobs.check_file, file, user_id=user, name=f"Check {name}", total=size, unit="bytes")
        case "import":
            file, _ = receive()
            task = rt.start(demo_jobs.import_customers, file, user_id=user, name=f"Import {name}", unit="rows")
        case "survey":
            task = rt.start(demo_jobs.survey_library, user_id=user, name="Survey the standard library", unit="files")
        case "weigh":
            task = rt.start(demo_jobs.weigh_python, user_id=user, name="Weigh this Python", unit="bytes")
        case _:
            abort(404, "There is no such job.")
    return answer(task.as_dict(), 202)


def user_of_request() -> str:
    """For whom something is to be started, if that one may have one more job."""
    user = request.args.get("as", "")
    if user not in USERS:
        abort(400, "Say for whom: ?as=ada or ?as=grace.")
    if len(rt.list_tasks(user, finished=False, limit=MAX_UNFINISHED)) == MAX_UNFINISHED:
        abort(429, f"{USERS[user]} has {MAX_UNFINISHED} unfinished jobs. Cancel one, or wait for one to end.")
    return user


def receive() -> tuple[BinaryIO, int]:
    """The request's body and its size, in a temporary file that has no name: it is gone when it is closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the job closes it
    try:
        shutil.copyfileobj(request.stream, file, demo_jobs.CHUNK)
    except OSError as problem:
        file.close()
        abort(503, f"The file could not be received: {problem.strerror}.")
    except BaseException:
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    return file, size


@page.post("/worker")
def start_worker() -> Response:
    """Start the visitor's worker ``?as=ada``: a process of its own. It is the only one of that visitor at that time."""
    user, mine = user_of_request(), workers_of_visitor()
    refuse_more_workers(than=0)
    task_id = f"{mine}{secrets.token_hex(4)}"
    former = next((task for task in rt.list_tasks(user, limit=100) if task.task_id.startswith(mine)), None)
    if former is not None and former.status in ("failed", "cancelled") and former.retried_by is None:
        task = rt.retry_task(former.task_id, task_id)
        if task.task_id != task_id:  # another process has been asked at the same moment
            abort(409, MINE)
    else:
        task = rt.create_task(
            task_id, user, name="Count primes", status="pending", message="Starting a process", cancellable=True
        )
    try:
        refuse_more_workers(than=1)  # others may have come at the same moment, and been let in
        environ, ended = way_of_reporting(user)
        demo_worker.start(rt, task_id, environ, ended)
    except BaseException as problem:
        with contextlib.suppress(RealtimeError):
            rt.fail_task(task_id, "No process was started for it.", code="not_started")
        if isinstance(problem, OSError):
            abort(503, f"No process can be started: {problem.strerror}.")
        raise
    return answer(task.as_dict(), 202)


@page.post("/worker/kill")
def kill_worker() -> Response:
    """Have the visitor's worker killed, by the process that has started it. Nobody else's can be named."""
    mine = workers_of_visitor()
    task = next((task for task in unfinished_workers() if task.task_id.startswith(mine)), None)
    if task is None or task.status != "processing" or task.metadata.get(demo_worker.KILL) == task.task_id:
        abort(409, "You have no worker that is at work.")
    rt.update_task_progress(task.task_id, metadata={demo_worker.KILL: task.task_id})
    return answer({"task_id": task.task_id}, 202)


def workers_of_visitor() -> str:
    """How the ids of the tasks of this visitor's workers begin. The visitor is a browser; its cookie is signed."""
    if "visitor" not in session:
        session["visitor"] = secrets.token_hex(8)
    return f"{WORKER}{session['visitor']}."


def unfinished_workers() -> list[Task]:
    unfinished = [task for user in USERS for task in rt.list_tasks(user, finished=False, limit=1000)]
    return [task for task in unfinished if task.task_id.startswith(WORKER)]


def refuse_more_workers(*, than: int) -> None:
    """There may be so many of the visitor's by now, and with them `MAX_WORKERS` if there is one more."""
    mine, workers = workers_of_visitor(), unfinished_workers()
    if sum(task.task_id.startswith(mine) for task in workers) > than:
        abort(409, MINE)
    if len(workers) >= MAX_WORKERS + than:
        abort(429, f"{MAX_WORKERS} workers are at work for visitors of this page. Wait for one to end.")


def store() -> str | None:
    """Where tasks are that several servers share; None if this one has them for itself."""
    registry = rt.config.registry
    return None if registry.partition(":")[0] in ("memory", "sqlite") else registry


def way_of_reporting(user: str) -> tuple[dict[str, str], Callable[[], object]]:
    """The environment of a worker of ``user``, and what is to be called at its end.

    Where servers share a store, it writes there. Else over HTTP, with a key of its own; not to where the request says
    that it was sent, which is the visitor's word, but to where this connection has come in.
    """
    if (shared := store()) is not None:
        return {"REALTIME_URL": shared}, lambda: None
    host, port = request.environ["SERVER_NAME"], request.environ["SERVER_PORT"]
    path = Path(rt.config.worker_keys or "")
    expires = datetime.now(UTC) + timedelta(seconds=2 * demo_worker.LIFE)
    key, made = keys.create(path, ["create", "report", f"user:{user}"], expires=expires)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return {"REALTIME_URL": url, "REALTIME_KEY": key}, partial(keys.revoke, path, made.id)


@page.get("/samples/customers.csv", defaults={"broken": False})
@page.get("/samples/customers-broken.csv", defaults={"broken": True})
def sample(broken: bool) -> Response:
    return Response(demo_jobs.sample_csv(broken=broken), mimetype="text/csv")


@page.get("/code/<name>")
def code(name: str) -> Response:
    if name not in CODE:
        abort(404, f"There are {', '.join(CODE)}.")
    return Response(CODE[name].read_text("utf-8"), mimetype="text/plain")


@page.get("/readme")
def readme() -> Response:
    """The README: a file in the source tree, a part of the metadata of an installed package."""
    beside = HERE.parent / "README.md"
    in_tree = (HERE.parent / "pyproject.toml").is_file()
    text = beside.read_text("utf-8") if in_tree else str(metadata("realtime-progress").json["description"])
    return Response(text, mimetype="text/plain")


@page.before_request
def refuse_other_origins() -> None:
    """Another site's page must not start jobs here. A browser says with each POST which page sends it."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None:  # an older browser, or none
        own = origin is None or origin.partition("://")[2] == request.host
    else:
        own = site in ("same-origin", "none")
    if request.method == "POST" and not own:
        abort(403, "This was sent by a page of another site.")


@page.errorhandler(HTTPException)
def problem(error: HTTPException) -> Response:
    text = error.description
    if error.code == 413:
        text = f"The file is too large. This page takes up to {demo_jobs.human(MAX_FILE)}."
    return answer({"error": {"code": error.name.lower().replace(" ", "_"), "message": text}}, error.code or 500)


@page.errorhandler(RealtimeError)
def refusal(error: RealtimeError) -> Response:
    """Such as one that says that the server is stopping: the page shows its words."""
    return answer({"error": {"code": error.code, "message": str(error)}}, error.http_status)


def answer(value: object, status: int = 200) -> Response:
    response = jsonify(value)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def add_security_headers(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    )
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
