"""Which pages may talk to us, and what proxies in front change about that."""

from __future__ import annotations

from typing import Any

import pytest

from realtime.config import Config
from realtime.errors import OriginNotAllowed
from realtime.transport.origin import behind_proxies, check_origin


def environ(host: str | None = "app.example", scheme: str = "https", **headers: str) -> dict[str, Any]:
    """A WSGI environ; keywords are headers (``sec_fetch_site="none"``)."""
    made: dict[str, Any] = {
        "wsgi.url_scheme": scheme,
        "SERVER_NAME": "10.1.1.1",
        "SERVER_PORT": "8000",
        "REMOTE_ADDR": "10.0.0.9",
    }
    if host is not None:
        made["HTTP_HOST"] = host
    return made | {f"HTTP_{name.upper()}": value for name, value in headers.items()}


def allowed(given: dict[str, Any], config: Config | None = None) -> bool:
    try:
        check_origin(given, config or Config())
    except OriginNotAllowed:
        return False
    return True


class TestOwnPages:
    def test_a_client_that_is_no_browser_may(self) -> None:
        """It sends neither header, and has no cookies that a page could ride on."""
        assert allowed(environ())

    @pytest.mark.parametrize(
        ("host", "origin", "own"),
        [
            ("app.example", "https://app.example", True),
            ("app.example", "http://app.example", True),  # a proxy that ends TLS
            ("app.example:8000", "http://app.example:8000", True),
            ("127.0.0.1:5000", "http://127.0.0.1:5000", True),
            ("[::1]:5000", "http://[::1]:5000", True),
            ("app.example", "https://evil.example", False),
            ("app.example", "https://app.example.evil.example", False),
            ("app.example", "https://evil.example/app.example", False),
            ("app.example", "https://app.example@evil.example", False),
            ("app.example", "https://evil.example#app.example", False),
            ("app.example", "https://app.example:8443", False),
            ("app.example:8000", "http://app.example", False),
            ("app.example", "null", False),
            ("app.example", "", False),
            ("app.example", "app.example", False),
            ("app.example", "http://[", False),
            ("not a host", "null", False),
            ("", "null", False),
            (None, "null", False),
        ],
    )
    def test_without_fetch_metadata_the_origin_must_be_the_host(self, host: str | None, origin: str, own: bool) -> None:
        """Host and port alike; a page without an origin is nobody's, whatever Host says."""
        assert allowed(environ(host, origin=origin)) is own

    @pytest.mark.parametrize(
        ("site", "own"),
        [("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False), ("", False)],
    )
    def test_what_the_browser_says_of_the_site_goes_first(self, site: str, own: bool) -> None:
        """``Sec-Fetch-Site`` cannot be set by a page; ``none`` is the address bar. It settles it either way."""
        assert allowed(environ(sec_fetch_site=site)) is own
        assert allowed(environ(sec_fetch_site=site, origin="https://app.example")) is own
        assert allowed(environ(sec_fetch_site=site, origin="https://other.example")) is own

    def test_the_refusal_names_both_sides_and_the_settings(self) -> None:
        """Whoever reads it knows what to set."""
        with pytest.raises(OriginNotAllowed) as caught:
            check_origin(environ(origin="https://evil.example"), Config())
        text = str(caught.value)
        for part in (
            "'https://evil.example'", "app.example", "REALTIME_TRUSTED_PROXIES", "REALTIME_ALLOWED_ORIGINS"
        ):  # fmt: skip
            assert part in text
        assert (caught.value.code, caught.value.http_status) == ("origin_not_allowed", 403)
        with pytest.raises(OriginNotAllowed, match="another site"):
            check_origin(environ(sec_fetch_site="cross-site"), Config())

    def test_a_long_origin_is_not_repeated_in_full(self) -> None:
        """A refusal stays short."""
        with pytest.raises(OriginNotAllowed) as caught:
            check_origin(environ(origin="https://" + "x" * 10_000), Config())
        assert len(str(caught.value)) < 600


class TestAllowedOrigins:
    CONFIG = Config(allowed_origins=("https://page.example", "http://localhost:3000"))

    @pytest.mark.parametrize(
        ("origin", "may"),
        [
            ("https://page.example", True),
            ("http://localhost:3000", True),
            ("http://page.example", False),
            ("https://page.example:444", False),
            ("https://sub.page.example", False),
            ("null", False),
        ],
    )
    def test_those_of_the_list_may_whatever_the_site(self, origin: str, may: bool) -> None:
        """Compared as a whole, scheme included; the own origin needs no line in the list."""
        assert allowed(environ(origin=origin, sec_fetch_site="cross-site"), self.CONFIG) is may
        assert allowed(environ(origin=origin), self.CONFIG) is may
        assert allowed(environ(origin="https://app.example", sec_fetch_site="same-origin"), self.CONFIG)

    def test_a_list_does_not_excuse_who_sends_no_origin(self) -> None:
        """A request of another site without an origin stays refused."""
        assert not allowed(environ(sec_fetch_site="cross-site"), self.CONFIG)

    def test_a_star_allows_every_page(self) -> None:
        """Only when it was said."""
        config = Config(allowed_origins=("*",))
        assert allowed(environ(origin="https://evil.example", sec_fetch_site="cross-site"), config)
        assert allowed(environ(origin="null"), config)
        assert not allowed(environ(sec_fetch_site="cross-site"), config)


class TestAllowedHosts:
    CONFIG = Config(allowed_hosts=("app.example", ".apps.example"))

    @pytest.mark.parametrize(
        ("host", "may"),
        [
            ("app.example", True),
            ("app.example:8000", True),
            ("one.apps.example", True),
            ("evil.example", False),
            ("not a host", False),
        ],
    )
    def test_other_names_are_refused(self, host: str, may: bool) -> None:
        """A page whose name was made to point here (DNS rebinding) is of the same origin, but not of these hosts."""
        assert allowed(environ(host, origin=f"https://{host}", sec_fetch_site="same-origin"), self.CONFIG) is may
        assert allowed(environ(host), self.CONFIG) is may

    def test_the_refusal_names_the_setting(self) -> None:
        """And an allowed origin does not pass by it."""
        config = Config(allowed_hosts=("app.example",), allowed_origins=("*",))
        with pytest.raises(OriginNotAllowed, match="REALTIME_ALLOWED_HOSTS"):
            check_origin(environ("evil.example", origin="https://page.example"), config)


#: What two proxies (or a client and one) may have written.
FORWARDED = {"x_forwarded_for": "6.6.6.6, 1.2.3.4", "x_forwarded_proto": "https", "x_forwarded_host": "pub.example"}


class TestProxies:
    def test_without_proxies_the_headers_are_nothing(self) -> None:
        """Anybody can send them: the environ is used as it is, the same object."""
        given = environ(origin="https://pub.example", **FORWARDED)
        assert behind_proxies(given, 0) is given
        assert not allowed(given)

    def test_a_trusted_proxy_is_believed(self) -> None:
        """Host and address are those that the outermost trusted proxy saw; the environ itself stays as it was."""
        given = environ(scheme="http", origin="https://pub.example", **FORWARDED)
        before = dict(given)
        seen = behind_proxies(given, 1)
        assert (seen["REMOTE_ADDR"], seen["HTTP_HOST"], seen["wsgi.url_scheme"]) == ("1.2.3.4", "pub.example", "https")
        assert given == before
        assert allowed(given, Config(trusted_proxies=1))

    def test_what_a_client_prepends_is_not_believed(self) -> None:
        """One proxy vouches for one address, the last."""
        assert behind_proxies(environ(**FORWARDED), 1)["REMOTE_ADDR"] == "1.2.3.4"
        assert behind_proxies(environ(**FORWARDED), 2)["REMOTE_ADDR"] == "6.6.6.6"
        assert behind_proxies(environ(**FORWARDED), 3)["REMOTE_ADDR"] == "10.0.0.9"

    def test_a_forwarded_host_must_be_allowed_too(self) -> None:
        """The check is on the name that the browser used."""
        given = environ(origin="https://pub.example", **FORWARDED)
        assert not allowed(given, Config(trusted_proxies=1, allowed_hosts=("app.example",)))
        assert allowed(given, Config(trusted_proxies=1, allowed_hosts=("pub.example",)))
