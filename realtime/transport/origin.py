"""Which pages may talk to us, and where a request came from.

Browsers send cookies with requests that other sites' pages make, so a request is refused when the browser says that it
comes from elsewhere: ``Sec-Fetch-Site`` (https://www.w3.org/TR/fetch-metadata/) where it exists, else ``Origin``
(RFC 6454). Clients that send neither are not browsers, and have no cookies that somebody else could ride on.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from werkzeug.exceptions import SecurityError
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wsgi import get_host

from ..config import Config
from ..errors import OriginNotAllowed

Environ = dict[str, Any]


def behind_proxies(environ: Environ, trusted: int) -> Environ:
    """The environ as the outermost of ``trusted`` proxies saw it (a copy; the environ itself if there are none)."""
    if trusted == 0:
        return environ
    seen: list[Environ] = []

    def note(fixed: Any, _start_response: Any) -> list[bytes]:
        seen.append(fixed)
        return []

    ProxyFix(note, x_for=trusted, x_proto=trusted, x_host=trusted)(dict(environ), lambda *_: lambda _: None)
    return seen[0]


def check_origin(environ: Environ, config: Config) -> None:
    """Raise `OriginNotAllowed` when a page of another origin asks, or for a host name we do not answer to."""
    environ = behind_proxies(environ, config.trusted_proxies)
    try:
        host = get_host(environ, config.allowed_hosts)
    except SecurityError:
        raise OriginNotAllowed("This host name is not one of REALTIME_ALLOWED_HOSTS.") from None
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and config.allowed_origins and {"*", origin} & set(config.allowed_origins):
        return
    site = environ.get("HTTP_SEC_FETCH_SITE")
    own = site in ("same-origin", "none") if site is not None else origin is None or _names(origin, host)
    if not own:
        raise OriginNotAllowed(
            f"A page of {_shown(origin)} may not connect to {host}. Behind a proxy set REALTIME_TRUSTED_PROXIES; "
            "for a page of another origin set REALTIME_ALLOWED_ORIGINS."
        )


def _names(origin: str, host: str) -> bool:
    # The scheme is not compared: a proxy that ends TLS makes an https page look like http from here. A page without
    # an origin ("null") names no host, and a request whose Host is not one has none that it could name.
    try:
        return host != "" and urlsplit(origin).netloc == host
    except ValueError:
        return False


def _shown(origin: str | None) -> str:
    return "another site" if origin is None else repr(origin[:200])
