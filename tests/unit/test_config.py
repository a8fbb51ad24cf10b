"""The settings: where they come from, what they may be, and what is said of those that may not."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from typing import Any

import pytest

from realtime import config as config_module
from realtime.config import Config
from realtime.errors import ConfigError

DEFAULTS: dict[str, Any] = {
    "registry": "memory://",
    "namespace": "/tasks",
    "async_mode": None,
    "flush_interval": 0.05,
    "retention": 3600.0,
    "max_tasks": 100_000,
    "max_tasks_per_user": 1_000,
    "output_tail": 262_144,
    "allowed_origins": None,
    "allowed_hosts": None,
    "trusted_proxies": 0,
    "max_viewers": None,
    "max_viewers_per_user": 100,
    "max_viewers_per_address": 1_000,
    "viewer_timeout": 30.0,
    "stall_timeout": 0.0,
    "lease": 30.0,
    "buffer": 0,
    "ticket_age": 3600.0,
    "threads": 16,
    "request_threads": 40,
    "error_detail": "message",
    "metrics": None,
    "worker_keys": None,
    "max_name": 200,
    "max_message": 2_000,
    "max_metadata": 16_384,
    "max_result": 262_144,
    "max_details": 16_384,
}


def made(**settings: Any) -> Config:
    """A config of settings without their prefix."""
    return Config.from_mapping({f"REALTIME_{name.upper()}": value for name, value in settings.items()})


class TestSources:
    def test_the_defaults(self) -> None:
        """With nothing said, each setting is what the README's table says."""
        assert dataclasses.asdict(Config.from_mapping({})) == DEFAULTS
        assert Config.from_mapping({}, {}) == Config()

    def test_other_keys_are_not_ours(self) -> None:
        """An app's own settings, and other variables, pass."""
        given = {"SECRET_KEY": "x", "DEBUG": True, "REAL": 1, "realtime_threads": 3}
        assert Config.from_mapping(given, {"PATH": "/bin", "FLASK_DEBUG": "1", "REALTIME_THREADS": "3"}) == Config()

    def test_a_frozen_value(self) -> None:
        """A config is read once and does not change."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            Config().threads = 3  # type: ignore[misc]

    def test_the_environment_is_read_with_flasks_prefix(self) -> None:
        """JSON where it is JSON, else text, as Flask's own ``from_prefixed_env`` has it."""
        found = Config.from_mapping(
            {},
            {
                "FLASK_REALTIME_THREADS": "3",
                "FLASK_REALTIME_RETENTION": "60",
                "FLASK_REALTIME_NAMESPACE": "/jobs",
                "FLASK_REALTIME_MAX_VIEWERS": "null",
                "FLASK_REALTIME_ALLOWED_ORIGINS": '["https://a.example", "https://b.example"]',
                "FLASK_REALTIME_ALLOWED_HOSTS": "a.example, b.example",
            },
        )
        assert found == Config(
            threads=3,
            retention=60.0,
            namespace="/jobs",
            allowed_origins=("https://a.example", "https://b.example"),
            allowed_hosts=("a.example", "b.example"),
        )

    def test_the_apps_config_wins_over_the_environment(self) -> None:
        """What is written in the app was written for it."""
        assert Config.from_mapping({"REALTIME_THREADS": 3}, {"FLASK_REALTIME_THREADS": "4"}).threads == 3

    def test_nothing_is_read_at_import(self) -> None:
        """The module asks no environment: what it is given is all it knows."""
        source = ast.parse(inspect.getsource(config_module))
        imported = {
            alias.name
            for node in ast.walk(source)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        assert "os" not in imported


class TestNames:
    @pytest.mark.parametrize(
        ("key", "nearest"),
        [
            ("REALTIME_RETENSION", "REALTIME_RETENTION"),
            ("REALTIME_MAX_VIEWER_PER_USER", "REALTIME_MAX_VIEWERS_PER_USER"),
            ("REALTIME_ORIGINS", "REALTIME_ALLOWED_ORIGINS"),
        ],
    )
    def test_an_unknown_key_is_an_error_that_names_the_nearest(self, key: str, nearest: str) -> None:
        """A setting with a slip in it must not be a setting that is quietly not set."""
        with pytest.raises(ConfigError, match=rf"^{key} is not a setting. The nearest is {nearest}\.$"):
            Config.from_mapping({key: 1})
        with pytest.raises(ConfigError, match=nearest):
            Config.from_mapping({}, {f"FLASK_{key}": "1"})

    @pytest.mark.parametrize("key", ["REALTIME_", "REALTIME_?", "REALTIME_threads", "REALTIME_" + "?" * 200])
    def test_however_far_it_is(self, key: str) -> None:
        """There is always a nearest one."""
        with pytest.raises(ConfigError, match=r"The nearest is REALTIME_[A-Z_]+"):
            Config.from_mapping({key: 1})


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value", "what"),
        [
            ("threads", "3", "a whole number"),
            ("threads", 3.0, "a whole number"),
            ("threads", True, "a whole number"),
            ("threads", None, "a whole number"),
            ("retention", "1h", "a number"),
            ("retention", True, "a number"),
            ("namespace", 7, "text"),
            ("registry", None, "text"),
            ("allowed_origins", 7, "a list of text"),
            ("allowed_origins", {"https://a.example": 1}, "a list of text"),
            ("allowed_hosts", [None], "a list of text"),
            ("allowed_hosts", ["a.example", 7], "a list of text"),
            ("allowed_hosts", b"a.example", "a list of text"),
        ],
    )
    def test_a_value_of_another_type_is_an_error(self, name: str, value: Any, what: str) -> None:
        """It names the setting, what was given and what it must be."""
        with pytest.raises(ConfigError) as caught:
            made(**{name: value})
        assert str(caught.value) == f"REALTIME_{name.upper()} is {value!r}; it must be {what}."

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("namespace", "/", "'/tasks'"),
            ("namespace", "tasks", "'/tasks'"),
            ("namespace", "/a,b", "'/tasks'"),
            ("namespace", "/a?b", "'/tasks'"),
            ("namespace", '/a"b', "'/tasks'"),
            ("namespace", "/" + "x" * 64, "'/tasks'"),
            ("async_mode", "asyncio", "'threading', 'eventlet', 'gevent'"),
            ("error_detail", "everything", "'message', 'type', 'none'"),
            ("flush_interval", 0, "0.001 to 10 seconds"),
            ("flush_interval", float("nan"), "0.001 to 10 seconds"),
            ("retention", float("inf"), "seconds"),
            ("retention", -1, "seconds"),
            ("retention", 10**400, "seconds"),
            ("trusted_proxies", -1, "0 to 16 proxies"),
            ("max_viewers", 0, "viewers"),
            ("threads", 0, "1 to 1024 threads"),
            ("threads", 10**30, "1 to 1024 threads"),
            ("max_message", 4_001, "100 to 4000 characters"),
            ("max_metadata", 16_385, "bytes"),
            ("ticket_age", 0.5, "seconds"),
            ("allowed_origins", ["https://a.example/"], "no path"),
            ("allowed_origins", ["https://a.example/path"], "no path"),
            ("allowed_origins", ["https://A.example"], "as browsers write them"),
            ("allowed_origins", ["a.example"], "scheme"),
            ("allowed_origins", ["https://user@a.example"], "scheme"),
            ("allowed_origins", ["null"], "scheme"),
            ("allowed_origins", ["https://*.a.example", "https://b.example", "x"], "scheme"),
        ],
    )
    def test_a_value_out_of_bounds_is_an_error(self, name: str, value: Any, allowed: str) -> None:
        """It names the setting and what it may be."""
        with pytest.raises(ConfigError, match=f"^REALTIME_{name.upper()} is ") as caught:
            made(**{name: value})
        assert allowed in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("retention", 60, 60.0),
            ("retention", 0, 0.0),
            ("stall_timeout", 0, 0.0),
            ("max_viewers", 5, 5),
            ("max_viewers", None, None),
            ("async_mode", "gevent", "gevent"),
            ("namespace", "/my/jobs_2.v1~x-y", "/my/jobs_2.v1~x-y"),
            ("namespace", "/" + "x" * 63, "/" + "x" * 63),
            ("allowed_origins", "https://a.example", ("https://a.example",)),
            ("allowed_origins", "https://a.example, http://[::1]:3000", ("https://a.example", "http://[::1]:3000")),
            ("allowed_origins", ["*"], ("*",)),
            ("allowed_origins", {"https://a.example"}, ("https://a.example",)),
            ("allowed_origins", (), None),
            ("allowed_hosts", "", None),
            ("allowed_hosts", [" a.example ", ""], ("a.example",)),
        ],
    )
    def test_what_is_taken(self, name: str, value: Any, stored: Any) -> None:
        """Whole numbers for numbers, text with commas for lists; an empty list is the same as none."""
        found = getattr(made(**{name: value}), name)
        assert found == stored
        assert type(found) is type(stored)

    def test_every_number_has_bounds_and_its_default_is_within(self) -> None:
        """A setting cannot be added without a rule for it."""
        ruled = set(config_module._RULES)
        numbers = {name for name, value in DEFAULTS.items() if isinstance(value, int | float) and value is not False}
        assert numbers <= ruled
        for name, (rule, _) in config_module._RULES.items():
            assert rule(DEFAULTS[name]), name


class TestSecrets:
    SECRET = "s3cret-of-a-scraper"

    def test_the_token_of_metrics(self) -> None:
        """Off by default; from the environment it is text, whatever it looks like."""
        assert made().metrics is None
        assert made(metrics=self.SECRET).metrics == self.SECRET
        for text in (self.SECRET, "12345678e1234567", "1234567890123456"):
            assert Config.from_mapping({}, {"FLASK_REALTIME_METRICS": text}).metrics == text
        assert Config.from_mapping({}, {"FLASK_REALTIME_METRICS": "null"}).metrics is None

    @pytest.mark.parametrize(
        "value", ["", "short-secret", "with a space in it", "x" * 257, "é" * 16, 1234567890123456, True]
    )
    def test_a_wrong_one_is_refused_and_not_shown(self, value: Any) -> None:
        """Names the setting and the bound, and keeps the secret."""
        with pytest.raises(
            ConfigError, match=r"REALTIME_METRICS is set \(its value is a secret\); it (may|must) be"
        ) as caught:
            made(metrics=value)
        assert str(value) not in str(caught.value) or value in ("", True)

    def test_no_config_shows_it(self) -> None:
        """A config may well be logged."""
        assert self.SECRET not in repr(made(metrics=self.SECRET))
