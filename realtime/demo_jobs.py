"""The demo's jobs: plain functions whose first argument is the task's handle. What they return is the task's result.

Each does real work on real input, says how far it is, and can be stopped: once somebody has asked for that, the handle
raises `TaskCancelled` at the next thing the job says, and the job unwinds. A `TaskError` is a failure in words that are
meant for the user; any other exception fails the task as well.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import math
import os
import re
import sqlite3
import sys
import sysconfig
import time
import tokenize
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, BinaryIO

from realtime import Handle, TaskError

CHUNK = 1024 * 1024  # bytes
NOT_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}
KEYWORDS = {"def", "class"}
ADDRESS = re.compile(r"[^@\s()<>,;:\"]+@[\w-]+(\.[\w-]+)+")

FIRST_NAMES = (
    "Ada", "Alan", "Annie", "Barbara", "Donald", "Edsger", "Frances", "Grace", "Hedy", "Jean", "John", "Karen", "Ken",
)  # fmt: skip
LAST_NAMES = (
    "Booth", "Easley", "Hopper", "Jones", "Knuth", "Lamarr", "Liskov", "Lovelace", "Perlman", "Ritchie", "Sammet",
    "Shaw", "Turing", "Wilkes",
)  # fmt: skip
TOWNS = ("Bath", "Lisboa", "New York", "Porto", "São Paulo", "Zürich")

#: The import of five hundred rows and the weighing of a small environment are over before a page has drawn them.
#: So at most this many of their steps are followed by a pause of this many seconds, and the page says so.
PAUSES = 200
PAUSE = 0.025


def check_file(task: Handle, file: BinaryIO) -> dict[str, Any]:
    """SHA-256, lines and gzip ratio of a file, in one pass. Closes it."""
    sha256 = hashlib.sha256()
    gzip = zlib.compressobj(wbits=31)
    size = lines = packed = 0
    is_text = True
    with file:
        task.message("Hashing, compressing, counting lines")
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            packed += len(gzip.compress(chunk))
            lines += chunk.count(b"\n")
            is_text = is_text and b"\0" not in chunk
            size += len(chunk)
            task.advance(len(chunk))
    packed += len(gzip.flush())
    saved = round(100 * (1 - packed / size)) if size else 0
    facts = [human(size), *([f"{lines:,} lines"] if is_text else []), f"gzip saves {max(saved, 0)}%"]
    digest = sha256.hexdigest()
    return {
        "message": f"{', '.join(facts)}.\nSHA-256 {digest[:6]}…{digest[-4:]}",
        "sha256": digest, "bytes": size, "lines": lines if is_text else None, "gzip_bytes": packed,
    }  # fmt: skip


def survey_library(task: Handle) -> dict[str, Any]:
    """Lines, functions and classes of this Python's standard library, file by file."""
    library = Path(sysconfig.get_path("stdlib"))
    task.message("Looking for the files")
    files = sorted(source_files(library))
    lines = broken = 0
    words: Counter[str] = Counter()
    for file in task.track(files, unit="files"):
        task.message(f"Reading {printable(file.relative_to(library))}")
        source = file.read_bytes()
        lines += len(source.splitlines())
        try:
            tokens = tokenize.tokenize(io.BytesIO(source).readline)
            words.update(token.string for token in tokens if token.type == tokenize.NAME and token.string in KEYWORDS)
        except (SyntaxError, tokenize.TokenError):
            broken += 1  # the library's own tests hold some, on purpose
    counts = {"files": len(files), "lines": lines, "functions": words["def"], "classes": words["class"]}
    message = ", ".join(f"{count:,} {what}" for what, count in counts.items()) + "."
    return {"message": message, **counts, "broken": broken}


def import_customers(task: Handle, file: BinaryIO) -> dict[str, Any]:
    """Import a CSV with the columns ``name`` and ``email``: all of it, or nothing if there is one bad row. Closes it.

    The database is a temporary one of SQLite, which ends with the job: this is a demo.
    """
    with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text, closing(sqlite3.connect("")) as database:
        task.message("Counting the rows")
        total = -1  # the header is no row
        for _ in csv_rows(text):
            total += 1
            if total % 10_000 == 0:
                task.raise_if_cancelled()
        text.seek(0)
        rows = csv_rows(text)
        columns = next(rows, [])
        if missing := {"name", "email"}.difference(columns):
            raise TaskError(
                f"The first line has to name the columns name and email, and lacks {' and '.join(sorted(missing))}. "
                "Nothing was imported.",
                code="bad_header",
            )
        database.execute("CREATE TABLE customer (email TEXT PRIMARY KEY, name TEXT, row INTEGER)")
        task.message("Checking and importing each row")
        batch = max(1, math.ceil(total / PAUSES))
        for number, row in enumerate(task.track(rows, total), start=1):
            import_row(database, number, columns, row)
            if number % batch == 0:
                pause_so_that_you_can_watch(task)
        database.commit()
    return {"message": f"{total:,} rows, no errors.", "rows": total}


def weigh_python(task: Handle) -> dict[str, Any]:
    """Count the files of this Python and their bytes, and write a line for each folder.

    How many there are is known at the end, so there is no total.
    """
    files = weight = 0
    for step, (folder, _, names) in enumerate(os.walk(sys.prefix)):
        place = Path(*Path(folder).relative_to(sys.prefix).parts[:3])
        task.message(f"In {printable(place)}" if place.parts else "Looking around")
        found = 0
        for name in names:
            with suppress(OSError):  # gone, or not ours to look at
                found += Path(folder, name).lstat().st_size
        files += len(names)
        weight += found
        task.write(f"{human(found):>9}  {printable(Path(*Path(folder).relative_to(sys.prefix).parts[-2:]))}\n")
        task.advance(found)
        if step < PAUSES:
            pause_so_that_you_can_watch(task)
    return {"message": f"{files:,} files, {human(weight)}.", "files": files, "bytes": weight}


def pause_so_that_you_can_watch(task: Handle) -> None:
    """Not a part of the work, and nothing to copy: it only makes a job of milliseconds last for some seconds."""
    time.sleep(PAUSE)
    task.raise_if_cancelled()


def source_files(library: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(library):
        folders[:] = [name for name in folders if name not in NOT_THE_LIBRARY]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


def csv_rows(file: io.TextIOWrapper) -> Iterator[list[str]]:
    """The rows that are not blank, the header first. Raises `TaskError` where it is no CSV."""
    reader = csv.reader(file, strict=True)
    try:
        yield from (row for row in reader if row)
    except UnicodeDecodeError:
        raise TaskError("The file is not text in UTF-8. Nothing was imported.", code="bad_encoding") from None
    except csv.Error as problem:
        line = reader.line_num
        text = f"Line {line:,}: {problem}. Nothing was imported."
        raise TaskError(text, code="bad_csv", details={"line": line}) from None


def import_row(database: sqlite3.Connection, number: int, columns: list[str], row: list[str]) -> None:
    """Raises `TaskError` that names the row and the column."""
    if len(row) != len(columns):
        raise bad_row(number, None, f"it has {len(row)} values for {len(columns)} columns")
    values = dict(zip(columns, row, strict=True))
    name, email = values["name"].strip(), values["email"].strip()
    if not name:
        raise bad_row(number, "name", "it is empty")
    if not ADDRESS.fullmatch(email):
        raise bad_row(number, "email", f"{email[:80] or 'nothing'} is not an address")
    try:
        database.execute("INSERT INTO customer VALUES (?, ?, ?)", (email.lower(), name, number))
    except sqlite3.IntegrityError:
        known = database.execute("SELECT row FROM customer WHERE email = ?", (email.lower(),)).fetchone()[0]
        raise bad_row(number, "email", f"{email[:80]} is in row {known:,} already") from None


def bad_row(number: int, column: str | None, problem: str) -> TaskError:
    place = f"Row {number:,}" if column is None else f"Row {number:,}, column “{column}”"
    details = {"row": number} if column is None else {"row": number, "column": column}
    return TaskError(f"{place}: {problem}. Nothing was imported.", code="bad_row", details=details)


def sample_csv(*, broken: bool = False) -> str:
    """Five hundred customers, always the same; the broken one has a mistake in row 212."""
    out = io.StringIO()
    write = csv.writer(out).writerow
    write(["name", "email", "town"])
    people = itertools.product("ABC", FIRST_NAMES, LAST_NAMES)
    for number, (initial, first, last) in enumerate(itertools.islice(people, 500), start=1):
        email = f"{first}.{initial}.{last}@example.org".lower()
        if broken and number == 212:
            email = "ada(at)example.org"
        write([f"{first} {initial}. {last}", email, TOWNS[number % len(TOWNS)]])
    return out.getvalue()


def human(size: float) -> str:
    """``1.3 GB``: decimal units, as in the page's own numbers."""
    units = ["TB", "GB", "MB", "kB", "bytes"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop()
    digits = 1 if units[-1] != "bytes" and size < 9.95 else 0
    return f"{size:.{digits}f}".removesuffix(".0") + f" {units[-1]}"


def printable(path: Path) -> str:
    """A path as text that can be sent: names of files are bytes, and those need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "replace")[-200:]
