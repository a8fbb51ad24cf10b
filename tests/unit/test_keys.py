"""Worker keys: what is made, what is kept of it, and what a key lets its holder do."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from realtime import keys
from realtime.cli import main
from realtime.errors import ConfigError, InsufficientScope, InvalidValue, KeyExpired, KeyInvalid, RealtimeError
from realtime.keys import Keys, WorkerGrant
from realtime.registry.base import Removed
from support.clock import Clock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def reached(grant: WorkerGrant, user_id: str | None, *groups: str) -> bool:
    """Whether the grant reaches a task of that user and these groups."""
    return grant.may_view(Removed("a", user_id, groups, "e", 1))


class TestFile:
    def test_a_key_is_random_and_only_its_hash_is_kept(self, path: Path) -> None:
        """256 bits, found by an id; the file has its SHA-256, and is its owner's alone."""
        text, made = keys.create(path, ["create"], name="ci")
        assert re.fullmatch(rf"rt_{made.id}_[A-Za-z0-9_-]{{43}}", text)
        stored = path.read_text()
        assert text not in stored
        assert text.split("_", 2)[2] not in stored
        assert json.loads(stored)["keys"][0]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert keys.create(path, ["create"])[0] != text
        assert [child.name for child in path.parent.iterdir()] == ["keys.json"]

    def test_what_is_not_a_key_is_refused(self, path: Path) -> None:
        """A wrong secret, another key's id, what has another shape; and any text at all where there is no file."""
        one, _ = keys.create(path, ["create"])
        two, _ = keys.create(path, ["create"])
        known = Keys(path)
        assert known.check(one).actions == {"create"}
        wrong = [
            one[:-1] + ("A" if one[-1] != "A" else "B"),
            one[:12] + two[12:],
            "rt_",
            "",
            "é" * 55,
            "\ud800",
            one + "x",
        ]
        for text in wrong:
            with pytest.raises(KeyInvalid):
                known.check(text)
        path.unlink()
        with pytest.raises(KeyInvalid):
            known.check(one)

    def test_the_time_of_a_refusal_tells_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each text is hashed and compared once, in constant time: also one whose id there is not."""
        text, made = keys.create(path, ["create"])
        compared: list[tuple[str, str]] = []
        compare = hmac.compare_digest

        def compare_digest(one: str, other: str) -> bool:
            compared.append((one, other))
            return compare(one, other)

        monkeypatch.setattr(hmac, "compare_digest", compare_digest)
        known, wrong, unknown = Keys(path), text[:12] + "w" * 43, "rt_00000000_" + "w" * 43
        known.check(text)
        for refused in (wrong, unknown):
            with pytest.raises(KeyInvalid):
                known.check(refused)
        digests = [hashlib.sha256(each.encode()).hexdigest() for each in (text, wrong, unknown)]
        assert compared == list(zip(digests, (made.sha256, made.sha256, ""), strict=True))

    def test_changes_of_the_file_count_at_once(self, path: Path) -> None:
        """A key that is made, or revoked, while the server runs."""
        known = Keys(path)
        with pytest.raises(KeyInvalid):
            known.check("rt_00000000_" + "A" * 43)
        text, made = keys.create(path, ["report"], name="ci")
        assert known.check(text).name == "ci"
        assert keys.revoke(path, "ci") == [made]
        with pytest.raises(KeyInvalid):
            known.check(text)

    def test_a_change_need_not_change_the_size(self, path: Path) -> None:
        """One key in the place of another: the former does not work a moment longer."""
        one, made = keys.create(path, ["create"])
        known, size = Keys(path), path.stat().st_size
        known.check(one)
        keys.revoke(path, made.id)
        two, _ = keys.create(path, ["create"])
        assert path.stat().st_size == size
        assert known.check(two).actions == {"create"}
        with pytest.raises(KeyInvalid):
            known.check(one)

    def test_a_file_that_has_not_changed_is_not_read_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """One look at its times is all that a request costs."""
        text, _ = keys.create(path, ["report"])
        known = Keys(path)
        known.check(text)
        monkeypatch.setattr(keys, "read", lambda path: pytest.fail("the file was read"))
        known.check(text)

    @pytest.mark.parametrize(
        "content",
        ["", "[]", '{"version": 2, "keys": []}', '{"version": 1, "keys": [{"id": 1}]}', "\xff", "[" * 100_000],
    )
    def test_a_file_that_is_none_of_ours(self, path: Path, content: str) -> None:
        """It opens nothing, and is left as it is."""
        path.write_text(content, "latin-1")
        path.chmod(0o600)
        for use in (lambda: Keys(path).check("rt_00000000_" + "A" * 43), lambda: keys.create(path, ["create"])):
            with pytest.raises(ConfigError, match=r"keys\.json"):
                use()
        assert path.read_text("latin-1") == content

    def test_a_file_that_others_may_write_opens_nothing(self, path: Path) -> None:
        """The error says what to do; a file that others may read holds no secret."""
        text, _ = keys.create(path, ["create"])
        path.chmod(0o644)
        assert Keys(path).check(text).name
        path.chmod(0o660)
        with pytest.raises(ConfigError, match="chmod 600"):
            Keys(path).check(text)

    def test_whom_the_file_was_given_to_keeps_it(self, path: Path) -> None:
        """Its mode lasts, and a link to it stays a link."""
        keys.create(path, ["create"])
        path.chmod(0o640)
        link = path.with_name("link")
        link.symlink_to(path)
        keys.create(link, ["create"])
        assert link.is_symlink()
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert len(keys.read(path)) == 2

    def test_many_at_once(self, path: Path) -> None:
        """Nobody's key is lost."""
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: keys.create(path, ["create"])[0], range(40)))
        known = Keys(path)
        assert len({known.check(text).name for text in made}) == 40

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        """Making a key says so."""
        with pytest.raises(ConfigError, match="No such file"):
            keys.create(tmp_path / "none" / "keys.json", ["create"])

    def test_a_file_that_cannot_be_read(self, path: Path) -> None:
        """It says so, and opens nothing."""
        path.mkdir()
        with pytest.raises(ConfigError, match="Is a directory"):
            Keys(path).check("rt_00000000_" + "A" * 43)

    def test_there_is_a_bound_on_their_number(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Beyond it none is made, and the others stay."""
        monkeypatch.setattr(keys, "MAX_KEYS", 1)
        keys.create(path, ["create"])
        with pytest.raises(InvalidValue, match="1 keys"):
            keys.create(path, ["create"])
        assert len(keys.read(path)) == 1


class TestTime:
    def test_a_key_expires(self, path: Path) -> None:
        """At its time, to the second; without one never."""
        clock = Clock()
        ends = datetime.fromtimestamp(clock.now + 60, UTC)
        text, _ = keys.create(path, ["create"], expires=ends)
        known = Keys(path, clock)
        clock.go(59)
        assert known.check(text).name
        clock.go(1)
        with pytest.raises(KeyExpired):
            known.check(text)

    def test_rotation_has_two_live_keys_for_a_while(self, path: Path) -> None:
        """Name and scopes stay; the old one ends with the grace, and a third one is refused meanwhile."""
        old, _ = keys.create(path, ["create,report", "user:42"], name="ci")
        new, made = keys.rotate(path, "ci", grace=timedelta(hours=1))
        assert (made.name, made.scopes) == ("ci", ("create", "report", "user:42"))
        known = Keys(path)
        assert known.check(old) == known.check(new)
        with pytest.raises(InvalidValue, match="two keys 'ci' work already"):
            keys.rotate(path, "ci", grace=timedelta(hours=1))
        later = Clock(datetime.now(UTC).timestamp() + 3601)
        with pytest.raises(KeyExpired):
            Keys(path, later).check(old)
        assert Keys(path, later).check(new).name

    def test_rotation_does_not_prolong(self, path: Path) -> None:
        """A key that ends before the grace is over still ends then."""
        ends = datetime.now(UTC) + timedelta(minutes=5)
        _, old = keys.create(path, ["create"], name="ci", expires=ends)
        keys.rotate(path, old.id, grace=timedelta(days=1))
        assert keys.read(path)[0].expires == ends

    def test_a_name_is_taken_while_its_key_works(self, path: Path) -> None:
        """A second one of the name comes by rotation only."""
        keys.create(path, ["create"], name="ci")
        with pytest.raises(InvalidValue, match="realtime keys rotate ci"):
            keys.create(path, ["read"], name="ci")
        with pytest.raises(InvalidValue, match="no key 'other' works"):
            keys.rotate(path, "other", grace=timedelta())

    def test_a_key_that_is_over_holds_no_name(self, path: Path) -> None:
        """Nor is it made to work again by a rotation."""
        keys.create(path, ["create"], name="ci", expires=datetime.now(UTC) - timedelta(minutes=5))
        with pytest.raises(InvalidValue, match="no key 'ci' works"):
            keys.rotate(path, "ci", grace=timedelta(hours=1))
        text, _ = keys.create(path, ["read"], name="ci")
        assert Keys(path).check(text).actions == {"read"}

    @pytest.mark.parametrize(
        ("text", "seconds"), [("90d", 90 * 86400), ("12h", 43200), ("30m", 1800), ("5s", 5), ("2w", 14 * 86400)]
    )
    def test_periods(self, text: str, seconds: int) -> None:
        """From now."""
        before = datetime.now(UTC)
        assert timedelta(0) <= keys.moment(text) - before - timedelta(seconds=seconds) < timedelta(seconds=30)

    def test_dates(self) -> None:
        """In UTC unless they say otherwise."""
        assert keys.moment("2999-01-31") == datetime(2999, 1, 31, tzinfo=UTC)
        assert keys.moment("2999-01-31T12:00:00+02:00") == datetime(2999, 1, 31, 10, tzinfo=UTC)

    @pytest.mark.parametrize("text", ["", "0d", "-1d", "soon", "90", "1970-01-01", "9999999d", "2999-13-01"])
    def test_what_is_no_time(self, text: str) -> None:
        """Or one that is over."""
        with pytest.raises(InvalidValue, match="expires: "):
            keys.moment(text)


class TestScopes:
    def test_actions(self) -> None:
        """Each is needed for what it names."""
        grant = WorkerGrant(name="ci", actions=frozenset({"report"}))
        grant.need("read", "report")
        with pytest.raises(InsufficientScope, match="'ci' has not the scope create"):
            grant.need("create")

    def test_a_bound_key_reaches_its_users_and_groups_only(self, path: Path) -> None:
        """And makes tasks for nobody else."""
        text, _ = keys.create(path, ["create", "user:42", ["user:a", "b"][0], "group:team:7"])
        grant = Keys(path).check(text)
        assert [reached(grant, *who) for who in (("42",), ("43", "team:7"), ("43",), (None,), (None, "x"))] == [
            True, True, False, False, False,
        ]  # fmt: skip
        for user, groups in (("42", ()), ("a", ("team:7",)), (None, ("team:7",))):
            grant.need_place(user, groups)
        for user, groups in (("43", ()), ("42", ("x",)), (None, ()), ("43", ("team:7",))):
            with pytest.raises(InsufficientScope):
                grant.need_place(user, groups)

    def test_another_key_reaches_all(self, path: Path) -> None:
        """Whoever's they are."""
        grant = Keys(path).check(keys.create(path, ["read"])[0])
        assert reached(grant, None)
        grant.need_place(None, ())

    @pytest.mark.parametrize(
        "scopes",
        [[], [""], ["user:42"], ["create", "sing"], ["create", "user:"], ["create", "group:a b"], ["create", "Report"]],
    )
    def test_what_is_no_scope(self, path: Path, scopes: list[str]) -> None:
        """Nothing is made."""
        with pytest.raises(InvalidValue, match="scope: "):
            keys.create(path, scopes)
        assert not path.exists()


class TestCommands:
    @pytest.fixture
    def run(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
        """Runs ``realtime keys …`` with the file that the environment names."""
        monkeypatch.setenv("REALTIME_WORKER_KEYS", str(path))
        return lambda *arguments: CliRunner().invoke(main, ["keys", *arguments])

    def test_the_life_of_a_key(self, run: Callable[..., Result], path: Path) -> None:
        """Made, listed, replaced, revoked; the key alone is on the output, once."""
        made = run("create", "--scope", "create", "--scope", "report,user:42", "--name", "ci", "--expires", "90d")
        text = made.stdout.strip()
        assert Keys(path).check(text).actions == {"create", "report"}
        assert "'ci'" in made.stderr
        assert text not in made.stderr
        replaced = run("rotate", "ci", "--grace", "1h")
        new = replaced.stdout.strip()
        listed = run("list").stdout
        assert listed.count(" ci ") == 2
        assert "create,report,user:42" in listed
        assert text.split("_")[1] in listed
        assert text not in listed
        assert run("revoke", text.split("_")[1]).exit_code == 0
        with pytest.raises(KeyInvalid):
            Keys(path).check(text)
        assert Keys(path).check(new).name

    def test_mistakes_are_one_sentence(self, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
        """And nothing is made."""
        for arguments, says in (
            (("create", "--scope", "sing"), "'sing' is not one of create"),
            (("create",), "--scope"),
            (("create", "--scope", "create", "--name", "a b"), "name:"),
            (("rotate", "ci"), "no key 'ci' works"),
            (("rotate", "ci", "--grace", "long"), "grace:"),
            (("revoke", "ci"), "there is no key 'ci'"),
        ):
            ended = run(*arguments)
            assert ended.exit_code != 0
            assert says in ended.stderr
            assert "Traceback" not in ended.output
        monkeypatch.delenv("REALTIME_WORKER_KEYS")
        assert "Set FLASK_REALTIME_WORKER_KEYS" in run("list").stderr  # what sets it for the server, too

    def test_under_flask_the_file_is_the_apps(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``flask realtime keys`` reads the app's own setting."""
        from flask import Flask
        from flask.cli import ScriptInfo

        from realtime.cli import flask_commands

        app = Flask("host")
        app.config["REALTIME_WORKER_KEYS"] = str(path)
        info = ScriptInfo(create_app=lambda: app)
        ended = CliRunner().invoke(flask_commands, ["keys", "create", "--scope", "read"], obj=info)
        assert Keys(path).check(ended.stdout.strip()).name


def test_errors_have_their_place() -> None:
    """A client switches on the code."""
    found = {error.code: error.http_status for error in (KeyInvalid, KeyExpired, InsufficientScope)}
    assert found == {"key_invalid": 401, "key_expired": 401, "insufficient_scope": 403}
    assert issubclass(KeyInvalid, RealtimeError)


class TestEditing:
    def test_a_file_that_others_may_write_from_now_on_opens_nothing(self, path: Path) -> None:
        """Though not a byte of it has changed."""
        text, _ = keys.create(path, ["create"])
        known = Keys(path)
        assert known.check(text).name
        path.chmod(0o666)
        with pytest.raises(ConfigError, match="may be written by others"):
            known.check(text)

    def test_nobody_runs_it(self, path: Path) -> None:
        """Of its mode is kept who may read it."""
        keys.create(path, ["create"])
        path.chmod(0o750)
        keys.create(path, ["create"])
        assert path.stat().st_mode & 0o777 == 0o640

    def test_there_is_a_bound_on_its_size(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which is said."""
        keys.create(path, ["create"])
        monkeypatch.setattr(keys, "MAX_FILE", 100)
        with pytest.raises(ConfigError, match="more than 100 bytes"):
            keys.read(path)

    def test_what_cannot_be_stored_leaves_nothing(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The keys are as they were, and no other file is there."""
        _, made = keys.create(path, ["create"])

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        before = sorted(path.parent.iterdir())
        with monkeypatch.context() as disk:
            disk.setattr(Path, "replace", full)
            with pytest.raises(ConfigError, match="No space left"):
                keys.create(path, ["create"])
        assert keys.read(path) == [made]
        assert sorted(path.parent.iterdir()) == before
