"""The demo's app: the page, its tickets, what may be started and by whom, what becomes of files."""

from __future__ import annotations

import errno
import io
import json
import re
import stat
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from realtime import Realtime, Task, demo, demo_jobs, demo_worker, keys
from support.tools import ROOT

WAIT = 25  # seconds, the longest that the server waits with an answer


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    monkeypatch.setattr(demo_jobs, "PAUSE", 0)
    app = demo.create_app()
    yield app.test_client()
    app.extensions["realtime"].stop()


@pytest.fixture
def rt(client: FlaskClient) -> Realtime:
    realtime: Realtime = client.application.extensions["realtime"]
    return realtime


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> list[BinaryIO]:
    """The temporary files that were made."""
    made: list[BinaryIO] = []
    make = tempfile.TemporaryFile

    def keep() -> Any:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", keep)
    return made


@pytest.fixture
def started(rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of jobs that were started. They stay pending: nothing runs them."""
    names: list[str] = []

    def start(_function: Any, *_args: Any, user_id: str, name: str, **_options: Any) -> Task:
        names.append(name)
        return rt.create_task(user_id=user_id, name=name, status="pending")

    monkeypatch.setattr(demo.rt, "start", start)
    return names


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str], Any]]:
    """The workers that were started: task, environment, what to call at the end. There is no process."""
    made: list[tuple[str, dict[str, str], Any]] = []
    monkeypatch.setattr(demo_worker, "start", lambda _rt, *given: made.append(given))
    return made


@pytest.fixture
def stranger(client: FlaskClient) -> FlaskClient:
    """Another browser."""
    return client.application.test_client()


def start(client: FlaskClient, kind: str, user: str = "ada", **options: Any) -> TestResponse:
    return client.post(f"/jobs/{kind}", query_string={"as": user, **options.pop("query", {})}, **options)


def end(client: FlaskClient, response: TestResponse) -> dict[str, Any]:
    """The last snapshot of the job that was started, once it has ended."""
    assert response.status_code == 202, response.text
    task: dict[str, Any] = response.json or {}
    headers = bearer(client, task["user"])
    while task["status"] in ("pending", "processing"):
        query = {"after": f"{task['epoch']}.{task['version']}", "wait": WAIT}
        answer = client.get(f"/realtime/v1/tasks/{task['task_id']}", query_string=query, headers=headers)
        assert answer.status_code == 200, f"nothing moved for {WAIT} s: {task}"
        task = json.loads(answer.data)
    return task


def bearer(client: FlaskClient, user: str) -> dict[str, str]:
    ticket = client.get(f"/tickets/{user}.json").json
    assert ticket is not None
    return {"Authorization": f"Bearer {ticket['ticket']}"}


def problem(response: TestResponse) -> tuple[int, str]:
    assert response.json is not None
    assert set(response.json) == {"error"}
    return response.status_code, response.json["error"]["message"]


# The page.


def test_the_page_keeps_to_a_strict_policy(client: FlaskClient) -> None:
    """Every answer forbids what does not come from here, and the page holds no script and no style of its own."""
    page = client.get("/")
    assert page.status_code == 200
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page.text) == []
    assert re.findall(r"<script[^>]*>(.+?)</script>", page.text) == []
    for response in (
        page,
        client.get("/nothing"),
        client.get("/realtime/static/demo.js", buffered=True),
        start(client, "weigh", "eve"),
    ):
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"


def test_all_that_the_page_names_is_there(client: FlaskClient) -> None:
    """Each link, sheet, script and icon of the page is served."""
    links = {link for link in re.findall(r'(?:href|src)="([^"]+)"', client.get("/").text) if not link.startswith("#")}
    assert len(links) > 8
    assert {link: client.get(link, buffered=True).status_code for link in links} == dict.fromkeys(links, 200)


@pytest.mark.parametrize(("query", "chosen"), [("", "ada"), ("?as=grace", "grace"), ("?as=eve", "ada")])
def test_the_address_says_who_is_chosen(client: FlaskClient, query: str, chosen: str) -> None:
    """A reload comes back to the same user, and a narrow page shows that one only."""
    page = client.get(f"/{query}").text
    assert re.findall(r'value="(\w+)" autocomplete="off" checked', page) == [chosen]
    assert re.findall(r'data-user="(\w+)" data-name="\w+" data-other', page) == [
        {"ada": "grace", "grace": "ada"}[chosen]
    ]


def test_the_code_shown_is_the_code_that_runs(client: FlaskClient) -> None:
    """The page's own sources are there to be read, as text; nothing else is."""
    for name, path in demo.CODE.items():
        response = client.get(f"/code/{name}")
        assert response.text == path.read_text("utf-8")
        assert response.content_type == "text/plain; charset=utf-8"
    assert problem(client.get("/code/cli.py"))[0] == 404


def test_the_readme_is_that_of_the_tree(client: FlaskClient) -> None:
    """In a source tree the README is the file."""
    assert client.get("/readme").text == (ROOT / "README.md").read_text("utf-8")


def test_the_readme_of_an_installed_package_is_in_its_metadata(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Away from its tree the package still knows its README."""
    try:
        description = metadata("realtime-progress").json["description"]
    except PackageNotFoundError:
        pytest.skip("the package is not installed; ./tests/run installs it")
    monkeypatch.setattr(demo, "HERE", tmp_path / "site-packages" / "realtime")
    assert client.get("/readme").text == description


# Who.


def test_a_ticket_shows_its_users_jobs_alone(client: FlaskClient, rt: Realtime) -> None:
    """Ada's ticket does not open Grace's jobs, and nobody else gets one."""
    rt.create_task("hers", "ada")
    rt.create_task("graces", "grace")
    seen = client.get("/realtime/v1/tasks", headers=bearer(client, "ada")).json
    assert seen is not None
    assert [task["task_id"] for task in seen["tasks"]] == ["hers"]
    assert client.get("/realtime/v1/tasks/graces", headers=bearer(client, "ada")).status_code == 404
    assert client.get("/tickets/ada.json").headers["Cache-Control"] == "no-store"
    assert problem(client.get("/tickets/eve.json"))[0] == 404


@pytest.mark.parametrize("query", [{}, {"as": ""}, {"as": "eve"}])
def test_a_job_is_somebodys(client: FlaskClient, rt: Realtime, query: dict[str, str]) -> None:
    """Without a user of the demo nothing is started."""
    assert problem(client.post("/jobs/survey", query_string=query))[0] == 400
    assert rt.registry.unfinished() == []


def test_other_sites_cannot_start_jobs(client: FlaskClient, started: list[str]) -> None:
    """A page of another origin is refused; the page itself, and programs that say no origin, are not."""
    for origin in ("https://evil.example", "http://localhost:81", "null", "http://[::1", ""):
        assert problem(start(client, "survey", headers={"Origin": origin}))[0] == 403
    for site in ("cross-site", "same-site"):
        assert problem(start(client, "survey", headers={"Sec-Fetch-Site": site}))[0] == 403
    assert started == []
    assert start(client, "survey", headers={"Origin": "http://localhost"}).status_code == 202
    assert start(client, "survey", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 202
    assert start(client, "survey").status_code == 202


def test_a_user_has_only_so_many_jobs(client: FlaskClient, started: list[str], files: list[BinaryIO]) -> None:
    """The twenty-first is refused with the user's name, before its file is received; the other user is free."""
    for _ in range(demo.MAX_UNFINISHED):
        assert start(client, "weigh").status_code == 202
    refused = start(client, "check", data=b"content")
    assert problem(refused) == (429, "Ada has 20 unfinished jobs. Cancel one, or wait for one to end.")
    assert files == []
    assert start(client, "weigh", "grace").status_code == 202
    assert len(started) == demo.MAX_UNFINISHED + 1


def test_a_server_that_stops_says_so(client: FlaskClient, rt: Realtime) -> None:
    """A job that nobody would work on is refused in words."""
    rt.stop()
    assert problem(start(client, "survey")) == (503, "The server is stopping and takes no new jobs.")


def test_an_unknown_job_is_said_to_be_unknown(client: FlaskClient) -> None:
    """The answer is JSON, as every other."""
    assert problem(start(client, "sleep")) == (404, "There is no such job.")


# The jobs.


def test_a_file_is_checked(client: FlaskClient, files: list[BinaryIO]) -> None:
    """It has its name and its size from the start, and is gone in the end."""
    response = start(client, "check", data=b"hello\n", query={"name": "hello.txt"})
    assert response.json is not None
    assert response.json["name"] == "Check hello.txt"
    assert (response.json["progress"]["total"], response.json["progress"]["unit"]) == (6, "bytes")
    ended = end(client, response)
    assert ended["status"] == "completed"
    assert ended["result"]["sha256"] == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert [file.closed for file in files] == [True]


def test_a_broken_file_fails(client: FlaskClient, files: list[BinaryIO]) -> None:
    """The sample that the page offers fails by row and column, and is gone too."""
    sample = client.get("/samples/customers-broken.csv")
    assert sample.mimetype == "text/csv"
    ended = end(client, start(client, "import", "grace", data=sample.data, query={"name": "customers-broken.csv"}))
    assert (ended["user"], ended["name"], ended["status"]) == ("grace", "Import customers-broken.csv", "failed")
    assert ended["error"]["message"].startswith("Row 212, column “email”: ")
    assert ended["error"]["details"] == {"row": 212, "column": "email"}
    assert [file.closed for file in files] == [True]


def test_a_good_file_is_imported(client: FlaskClient) -> None:
    """The other sample ends well."""
    ended = end(client, start(client, "import", data=client.get("/samples/customers.csv").data))
    assert (ended["name"], ended["status"]) == ("Import a file", "completed")


def test_python_is_surveyed_and_weighed(client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both need no file, and run under their own names."""
    (tmp_path / "one.py").write_text("class One: ...\n")
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    surveyed, weighed = end(client, start(client, "survey")), end(client, start(client, "weigh"))
    assert (surveyed["name"], surveyed["status"]) == ("Survey the standard library", "completed")
    assert (weighed["name"], weighed["status"]) == ("Weigh this Python", "completed")
    assert (surveyed["result"]["classes"], weighed["result"]["files"]) == (1, 1)
    assert weighed["progress"]["total"] is None


def test_a_long_name_is_cut(client: FlaskClient, started: list[str], files: list[BinaryIO]) -> None:
    """A file may have a name longer than a task's may be."""
    assert start(client, "check", data=b"x", query={"name": "n" * 5000}).status_code == 202
    assert started == ["Check " + "n" * 150]
    files[0].close()  # nothing runs that would


# The worker in another process.


def start_worker(client: FlaskClient, user: str = "ada") -> TestResponse:
    return client.post("/worker", query_string={"as": user})


def test_a_worker_gets_a_task_and_a_key_for_it(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """The page knows the task; the key lets its holder make and report that user's tasks, for a while."""
    [mine] = re.findall(r'data-worker="(worker\.[0-9a-f]{16}\.)"', client.get("/").text)
    response = start_worker(client, "grace")
    assert response.status_code == 202
    [(task_id, environ, ended)] = workers
    assert task_id.startswith(mine)
    task = rt.require(task_id)
    assert (task.user_id, task.status, task.cancellable) == ("grace", "pending", True)
    assert environ["REALTIME_URL"] == "http://localhost:80"
    file = Path(rt.config.worker_keys or "")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    [key] = keys.read(file)
    assert key.scopes == ("create", "report", "user:grace")
    assert key.expires is not None
    assert keys.Keys(file).check(environ["REALTIME_KEY"]).name == key.name
    ended()
    assert keys.read(file) == []


def test_a_worker_reports_to_where_the_server_is(
    client: FlaskClient, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """And not to where its visitor says that the server is, who would be brought the key."""
    client.post("/worker", query_string={"as": "ada"}, headers={"Host": "evil.example:81"})
    assert [environ["REALTIME_URL"] for _, environ, _ in workers] == ["http://localhost:80"]


def test_a_visitor_has_one_worker(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """For whomever it is started, and in whatever state it is."""
    assert start_worker(client).status_code == 202
    for state in ("pending", "processing"):
        for user in ("ada", "grace"):
            assert problem(start_worker(client, user)) == (409, demo.MINE), state
        rt.update_task_progress(workers[0][0], "at work")
    assert len(workers) == 1


def test_a_worker_that_was_lost_is_tried_again(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """By a task that says so, and is not killed with what it tries again; for another user, or after a good end, there
    is a new one."""
    for end in ("failed", "cancelled"):
        assert start_worker(client).status_code == 202
        first = workers[-1][0]
        rt.update_task_progress(first, "at work")
        assert client.post("/worker/kill").status_code == 202
        if end == "failed":
            rt.fail_task(first, "lost", code="worker_lost")
        else:
            rt.cancel_task(first, done=True)
        assert start_worker(client).status_code == 202
        again = rt.require(workers[-1][0])
        assert (again.retry_of, again.user_id, again.status) == (first, "ada", "pending")
        assert again.metadata.get(demo_worker.KILL) == first != again.task_id
        rt.complete_task(again.task_id)
    assert start_worker(client, "grace").status_code == 202
    rt.fail_task(workers[-1][0], "lost")
    assert start_worker(client).status_code == 202
    assert rt.require(workers[-1][0]).retry_of is None


def test_a_visitor_who_asks_twice_at_the_same_moment_has_one_worker(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both see that there is none. The one that comes second is refused, for a new one and for another try."""
    check = demo.refuse_more_workers
    monkeypatch.setattr(demo, "refuse_more_workers", lambda than: check(than=than) if than else None)
    assert start_worker(client).status_code == 202
    assert problem(start_worker(client)) == (409, demo.MINE)
    first = workers[0][0]
    rt.fail_task(first, "lost")
    for task in rt.list_tasks("ada", finished=True):
        if task.task_id != first:
            rt.remove_task(task.task_id)
    retry = rt.retry_task
    monkeypatch.setattr(demo.rt, "retry_task", lambda *ids: (retry(ids[0]), retry(*ids))[1])
    assert problem(start_worker(client)) == (409, demo.MINE)
    assert [worker[0] for worker in workers] == [first]


def test_there_are_only_so_many_workers(client: FlaskClient, workers: list[tuple[str, dict[str, str], Any]]) -> None:
    """However many visitors there are, and for whomever they start them; whoever is refused has no task either."""
    visitors = [client.application.test_client() for _ in range(demo.MAX_WORKERS + 1)]
    answers = [start_worker(visitor, user) for visitor, user in zip(visitors, ["ada", "grace"] * 3, strict=False)]
    assert [answer.status_code for answer in answers] == [202] * demo.MAX_WORKERS + [429]
    assert problem(answers[-1])[1] == "4 workers are at work for visitors of this page. Wait for one to end."
    assert len(workers) == demo.MAX_WORKERS
    assert len(demo.rt.list_tasks("ada")) + len(demo.rt.list_tasks("grace")) == demo.MAX_WORKERS


def test_visitors_who_come_at_the_same_moment_are_not_too_many(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process of the server has started four while this one made its task: no process is started for it."""
    make = rt.create_task

    def create(*args: Any, **options: Any) -> Task:
        for number in range(demo.MAX_WORKERS):
            make(f"worker.{number}.0", "ada")
        return make(*args, **options)

    monkeypatch.setattr(demo.rt, "create_task", create)
    response = start_worker(client)
    assert problem(response)[0] == 429
    assert workers == []
    [task] = [task for task in rt.list_tasks("ada") if task.finished]
    assert task.error is not None
    assert task.error.code == "not_started"


def test_a_stranger_kills_nobodys_worker(
    client: FlaskClient, stranger: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """Only its visitor's word is written into the task; nothing that is sent says which task or which process."""
    start_worker(client)
    task_id = workers[0][0]
    assert problem(client.post("/worker/kill"))[0] == 409  # it has not begun
    rt.update_task_progress(task_id, "at work")
    for query in ({}, {"task_id": task_id, "pid": "1", "as": "ada"}):
        assert problem(stranger.post("/worker/kill", query_string=query, json={"task_id": task_id, "pid": 1}))[0] == 409
    stranger.set_cookie("realtime_demo", "eyJ2aXNpdG9yIjoiMCJ9.aSSg.forged")
    assert problem(stranger.post("/worker/kill"))[0] == 409
    assert rt.require(task_id).metadata == {}
    assert client.post("/worker/kill").status_code == 202
    assert rt.require(task_id).metadata == {demo_worker.KILL: task_id}
    # Said again it would be a sign of life.
    assert problem(client.post("/worker/kill"))[0] == 409


def test_other_sites_start_and_kill_no_workers(
    client: FlaskClient, rt: Realtime, workers: list[tuple[str, dict[str, str], Any]]
) -> None:
    """The visitor's cookie is sent with what they send, but it is refused."""
    start_worker(client)
    rt.update_task_progress(workers[0][0], "at work")
    for path in ("/worker?as=ada", "/worker/kill"):
        assert problem(client.post(path, headers={"Origin": "https://evil.example"}))[0] == 403
    assert rt.require(workers[0][0]).metadata == {}


def test_a_worker_that_cannot_be_started_is_said(
    client: FlaskClient, rt: Realtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine has no room for a process: the task fails, and its key is gone."""

    def refuse(*_args: Any, **_options: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    assert problem(start_worker(client)) == (503, "No process can be started: Resource temporarily unavailable.")
    [task] = rt.list_tasks("ada")
    assert task.error is not None
    assert task.error.code == "not_started"
    assert keys.read(Path(rt.config.worker_keys or "")) == []


# Files that do not arrive.


def test_a_file_that_is_too_large_is_refused_in_words(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is said, and nothing is kept."""
    monkeypatch.setitem(client.application.config, "MAX_CONTENT_LENGTH", 10)
    response = start(client, "check", data=b"x" * 11)
    assert problem(response) == (413, "The file is too large. This page takes up to 2 GB.")


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [(OSError(28, "No space left on device"), 503, "No space left on device"), (ValueError("broken"), 500, "")],
)
def test_a_file_that_cannot_be_kept_starts_nothing(
    client: FlaskClient, rt: Realtime, files: list[BinaryIO], monkeypatch: pytest.MonkeyPatch,
    error: Exception, status: int, says: str,
) -> None:  # fmt: skip
    """A full disk is said, and the piece that has arrived is gone."""

    def fail(*_args: Any) -> None:
        raise error

    monkeypatch.setattr("shutil.copyfileobj", fail)
    response = start(client, "check", data=b"content")
    assert response.status_code == status
    assert says in response.text
    assert [file.closed for file in files] == [True]
    assert rt.registry.unfinished() == []


def test_a_file_whose_sender_goes_away_starts_nothing(client: FlaskClient, rt: Realtime, files: list[BinaryIO]) -> None:
    """Half a file is no file."""
    response = start(client, "check", input_stream=io.BytesIO(b"half"), environ_overrides={"CONTENT_LENGTH": "8"})
    assert response.status_code == 400
    assert [file.closed for file in files] == [True]
    assert rt.registry.unfinished() == []


def test_each_app_signs_with_its_own_key(client: FlaskClient) -> None:
    """A restarted demo does not know the tickets of the one before."""
    before = bearer(client, "ada")
    other = demo.create_app().test_client()
    assert other.get("/realtime/v1/tasks", headers=before).status_code == 401
    assert other.get("/realtime/v1/tasks", headers=bearer(other, "ada")).status_code == 200
