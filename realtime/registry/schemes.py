"""How the addresses of stores begin that need a package of their own."""

from __future__ import annotations

from typing import Final

REDIS: Final = ("redis", "rediss", "redis+sentinel", "valkey", "valkeys", "valkey+sentinel", "unix")
