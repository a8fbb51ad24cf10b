"""Tasks in Redis or Valkey."""

from __future__ import annotations

from .registry import RedisRegistry as RedisRegistry
