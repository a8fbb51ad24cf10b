"""The demo's jobs: what they find, what they say on the way, how they fail and how they stop."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from flask import Flask

from realtime import Handle, Realtime, Task, TaskCancelled, TaskError, demo_jobs

GOOD = demo_jobs.sample_csv().encode()
BROKEN = demo_jobs.sample_csv(broken=True).encode()


@pytest.fixture
def rt() -> Realtime:
    return Realtime(Flask(__name__))


@pytest.fixture
def task(rt: Realtime) -> Iterator[Handle]:
    """The handle of a task that goes on until the test ends it."""
    with rt.progress(user_id="ada", name="Job") as handle:
        yield handle


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """The pauses that the jobs make for those who watch, which are not made here."""
    made: list[Handle] = []
    monkeypatch.setattr(demo_jobs, "pause_so_that_you_can_watch", made.append)
    return made


@pytest.fixture
def messages(task: Handle, rt: Realtime, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What the task says, one message after another."""
    said: list[str | None] = []
    store = rt.registry.update

    def update(*args: Any) -> Task:
        changed = store(*args)
        if not said or said[-1] != changed.message:
            said.append(changed.message)
        return changed

    monkeypatch.setattr(rt.registry, "update", update)
    return said


def failure(job: Callable[..., Any], *args: Any) -> TaskError:
    with pytest.raises(TaskError) as caught:
        job(*args)
    return caught.value


# A file is checked.


@pytest.mark.parametrize("content", [b"one\ntwo\nthree", b"\0" * 3_000_000, b"x" * demo_jobs.CHUNK + b"\n\0", b""])
def test_a_file_is_hashed_counted_and_compressed(task: Handle, content: bytes) -> None:
    """The sums are those that other tools give, whatever the size of the file is to the chunks."""
    result = demo_jobs.check_file(task, io.BytesIO(content))
    assert result["sha256"] == hashlib.sha256(content).hexdigest()
    assert result["bytes"] == len(content)
    assert result["lines"] == (None if b"\0" in content else content.count(b"\n"))
    assert abs(result["gzip_bytes"] - len(gzip.compress(content, 6))) < 100
    assert task.snapshot.progress.current == (len(content) or None)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"hello\n" * 1000, "6 kB, 1,000 lines, gzip saves 99%."),
        (bytes(range(256)), "256 bytes, gzip saves 0%."),
        (b"", "0 bytes, 0 lines, gzip saves 0%."),
    ],
)
def test_the_result_is_said_in_two_lines(task: Handle, content: bytes, facts: str) -> None:
    """Size, lines if it is text, what gzip saves; and the hash, short enough for a card."""
    digest = hashlib.sha256(content).hexdigest()
    result = demo_jobs.check_file(task, io.BytesIO(content))
    assert result["message"] == f"{facts}\nSHA-256 {digest[:6]}…{digest[-4:]}"


def test_a_file_moves_in_chunks(task: Handle) -> None:
    """Progress is told after each mebibyte."""
    seen: list[float | None] = []

    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            seen.append(task.snapshot.progress.current)
            return super().read(size)

    demo_jobs.check_file(task, File(b"x" * (2 * demo_jobs.CHUNK + 1)))
    assert seen == [None, demo_jobs.CHUNK, 2 * demo_jobs.CHUNK, 2 * demo_jobs.CHUNK + 1]


# The library is surveyed.


def test_the_library_is_counted_file_by_file(
    task: Handle, tmp_path: Path, messages: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Functions, async ones and methods, and classes are counted; words in texts, and what was installed, are not."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "site-packages" / "other.py").write_text("def other(): ...\n")
    (tmp_path / "package" / "one.py").write_text("class One:\n    def method(self): ...\n\nasync def two(): ...\n")
    (tmp_path / "text.py").write_text('"""class and def"""\n')
    (tmp_path / "broken.py").write_text('x = """\n')
    (tmp_path / "data.txt").write_text("def no(): ...\n")
    monkeypatch.setattr(sysconfig, "get_path", {"stdlib": str(tmp_path)}.__getitem__)

    result = demo_jobs.survey_library(task)
    assert result == {
        "message": "3 files, 6 lines, 2 functions, 1 classes.",
        "files": 3, "lines": 6, "functions": 2, "classes": 1, "broken": 1,
    }  # fmt: skip
    progress = task.snapshot.progress
    assert (progress.current, progress.total, progress.unit) == (3, 3, "files")
    assert messages == [
        "Looking for the files", "Reading broken.py", f"Reading {Path('package', 'one.py')}", "Reading text.py",
    ]  # fmt: skip


def test_the_library_is_the_running_pythons(task: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python's own library is looked for, and found."""
    seen: list[Path] = []

    def source_files(library: Path) -> list[Path]:
        seen.append(library)
        return []

    monkeypatch.setattr(demo_jobs, "source_files", source_files)
    demo_jobs.survey_library(task)
    assert (seen[0] / "ast.py").samefile(str(sys.modules["os"].__file__).replace("os.py", "ast.py"))


# Customers are imported.


@pytest.mark.usefixtures("pauses")
def test_a_good_file_is_imported_whole(task: Handle) -> None:
    """All five hundred rows of the sample are counted first and then read."""
    assert demo_jobs.import_customers(task, io.BytesIO(GOOD)) == {"message": "500 rows, no errors.", "rows": 500}
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (500, 500)


@pytest.mark.usefixtures("pauses")
def test_a_bad_row_fails_the_import_by_row_and_column(task: Handle) -> None:
    """The sentence says where and what, the details say it to programs, the count stops before the row."""
    error = failure(demo_jobs.import_customers, task, io.BytesIO(BROKEN))
    assert str(error) == ("Row 212, column “email”: ada(at)example.org is not an address. Nothing was imported.")
    assert (error.code, error.details) == ("bad_row", {"row": 212, "column": "email"})
    assert (task.snapshot.progress.current, task.snapshot.progress.total) == (211, 500)


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "bad_header", "and lacks email and name."),
        ("name,town\nAda,Bath\n", "bad_header", "and lacks email."),
        ("name,email\nAda,ada@example.org,Bath\n", "bad_row", "Row 1: it has 3 values for 2 columns."),
        ("name,email\n ,ada@example.org\n", "bad_row", "Row 1, column “name”: it is empty."),
        ("name,email\nAda,\n", "bad_row", "Row 1, column “email”: nothing is not an address."),
        ("name,email\nA,a@b.org\n\nB,b@b.org\nC,A@B.ORG\n", "bad_row", "“email”: A@B.ORG is in row 1 already."),
        ('name,email\n"Ada"x,ada@example.org\n', "bad_csv", "Line 2: "),
        ("name,email\nJos\udce9,j@example.org\n", "bad_encoding", "not text in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(task: Handle, text: str, code: str, says: str) -> None:
    """Every way to be broken has its words, and each says that nothing was imported."""
    error = failure(demo_jobs.import_customers, task, io.BytesIO(text.encode("utf-8", "surrogateescape")))
    assert error.code == code
    assert says in str(error)
    assert str(error).endswith("Nothing was imported.")


@pytest.mark.usefixtures("pauses")
def test_a_spreadsheets_file_is_understood(task: Handle) -> None:
    """A byte order mark, quotes, other columns, line breaks in a value and blank lines do no harm."""
    text = '\ufeffid,email,name\r\n1,ada@example.org,"Lovelace,\r\nAda"\r\n\r\n2,grace@example.org,Grace\r\n'
    assert demo_jobs.import_customers(task, io.BytesIO(text.encode()))["rows"] == 2


@pytest.mark.parametrize(("rows", "most"), [(3, 3), (500, 166), (20_000, demo_jobs.PAUSES)])
def test_an_import_pauses_only_so_often(task: Handle, pauses: list[Handle], rows: int, most: int) -> None:
    """However long the file is, the pauses for those who watch add a few seconds and no more."""
    lines = ["name,email", *(f"Ada,{number}@example.org" for number in range(rows))]
    demo_jobs.import_customers(task, io.BytesIO("\n".join(lines).encode()))
    assert len(pauses) == most


def test_the_samples_are_always_the_same() -> None:
    """Five hundred customers, all different; the broken file differs in one row."""
    good, broken = (list(csv.reader(io.StringIO(content.decode()))) for content in (GOOD, BROKEN))
    assert len(good) == 501
    assert len({email for _, email, _ in good}) == 501
    assert [number for number, rows in enumerate(zip(good, broken, strict=True)) if rows[0] != rows[1]] == [212]
    assert demo_jobs.sample_csv().encode() == GOOD


# Python is weighed.


def test_python_is_weighed(
    rt: Realtime, task: Handle, tmp_path: Path, pauses: list[Handle], messages: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Files and bytes are summed up over all folders, with names that are no text too, and without a total."""
    deep = tmp_path / "lib" / "python" / "site-packages" / "package"
    deep.mkdir(parents=True)
    (tmp_path / "README").write_bytes(b"x" * 100)
    (deep / "code.py").write_bytes(b"x" * 900)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    link = (tmp_path / "gone").lstat().st_size
    monkeypatch.setattr(sys, "prefix", str(tmp_path))

    result = demo_jobs.weigh_python(task)
    assert result == {"message": f"3 files, {demo_jobs.human(1000 + link)}.", "files": 3, "bytes": 1000 + link}
    assert task.snapshot.progress.total is None
    assert task.snapshot.progress.current == 1000 + link
    assert len(pauses) == 6
    assert messages[0] == "Looking around"
    assert sorted(filter(None, messages[1:])) == [
        "In caf\ufffd",
        "In lib",
        "In lib/python",
        "In lib/python/site-packages",
    ]
    written = rt.registry.read_output(task.task_id, "output", 0, task.snapshot.output_size, 10_000)
    assert written is not None
    lines = written.data.decode().splitlines()
    assert len(lines) == 6
    assert lines[0] == f"{demo_jobs.human(100 + link):>9}  ."
    assert {"900 bytes  site-packages/package", "  0 bytes  caf\ufffd"} < set(lines)


def test_weighing_pauses_only_so_often(
    task: Handle, tmp_path: Path, pauses: list[Handle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python of many folders is weighed at full speed after the first of them."""
    for number in range(demo_jobs.PAUSES + 10):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    demo_jobs.weigh_python(task)
    assert len(pauses) == demo_jobs.PAUSES


# Whatever happens.

JOBS: list[tuple[Callable[..., Any], bytes | None]] = [
    (demo_jobs.check_file, b"x"),
    (demo_jobs.import_customers, GOOD),
    (demo_jobs.survey_library, None),
    (demo_jobs.weigh_python, None),
]


@pytest.mark.parametrize(("job", "content"), JOBS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_job_stops_when_it_is_asked_to(rt: Realtime, job: Callable[..., Any], content: bytes | None) -> None:
    """The first thing that it says after that ends it, and its file is closed."""
    files: list[BinaryIO] = [] if content is None else [io.BytesIO(content)]
    task = rt.progress(user_id="ada")
    rt.cancel_task(task.task_id)
    with pytest.raises(TaskCancelled), task:
        job(task, *files)
    assert rt.require(task.task_id).status == "cancelled"
    assert all(file.closed for file in files)


def test_a_pause_ends_when_the_job_is_asked_to_stop(rt: Realtime) -> None:
    """Nobody waits for a pause that is only there to be watched."""
    task = rt.progress(user_id="ada")
    rt.cancel_task(task.task_id)
    with pytest.raises(TaskCancelled):
        demo_jobs.pause_so_that_you_can_watch(task)


@pytest.mark.parametrize("job", [demo_jobs.check_file, demo_jobs.import_customers])
def test_a_file_that_cannot_be_read_is_closed(task: Handle, job: Callable[..., Any]) -> None:
    """The file is gone after a failure too."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is broken")

        read1 = read

    file = Failing(b"name,email\n")
    with pytest.raises(OSError, match="broken"):
        job(task, file)
    assert file.closed


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (1234, "1.2 kB"), (9949, "9.9 kB"), (9950, "10 kB"),
        (999_499, "999 kB"), (999_500, "1 MB"), (2_000_000_000, "2 GB"), (7.5e12, "7.5 TB"), (7.5e15, "7500 TB"),
    ],
)  # fmt: skip
def test_sizes_are_written_as_the_page_writes_them(size: float, text: str) -> None:
    """Decimal units, with one digit after the point below ten."""
    assert demo_jobs.human(size) == text
