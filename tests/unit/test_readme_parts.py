"""The README's section on the parts of a job, line by line."""

from __future__ import annotations

import ast
import re
from typing import Any

import flask

import realtime
from realtime import Realtime
from support.tools import ROOT


def test_each_line_does_what_it_says() -> None:
    """What the comments say is so right after the line that they are at."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## Parts of a job\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    app = flask.Flask("readme")
    app.config["SECRET_KEY"] = "x" * 32
    rt = Realtime(app)
    names: dict[str, Any] = {name: getattr(realtime, name) for name in realtime.__all__}
    seen: dict[str, tuple[str, float | None]] = {}
    with app.app_context():
        lines = code.splitlines()
        for statement in ast.parse(code).body:
            exec(compile(ast.Module([statement], []), "README.md", "exec"), names)
            job = rt.get_task_status(names["job"].task_id)
            assert job is not None
            for line in lines[statement.lineno - 1 : statement.end_lineno]:
                if "  # " in line:
                    seen[line.partition("  # ")[2]] = job.status, job.percent
    assert seen == {
        "the third is twice the work": ("processing", 0.0),
        "the job is at 25 %": ("processing", 25.0),
        "the job waits for another attempt": ("processing", 75.0),
        "a new task, attempt 2": ("processing", 75.0),
        'the job has completed: {"completed": 3}': ("completed", 100.0),
    }
    assert names["again"].attempt == 2
    assert rt.require(names["job"].task_id).result == {"completed": 3}
