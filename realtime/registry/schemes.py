"""How the addresses of stores begin that need a package of their own."""

from __future__ import annotations

from typing import Final

REDIS: Final = (
    "redis", "rediss", "redis+sentinel", "redis+cluster", "rediss+cluster",
    "valkey", "valkeys", "valkey+sentinel", "valkey+cluster", "valkeys+cluster", "unix",
)  # fmt: skip
