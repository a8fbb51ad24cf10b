// Generated from realtime/protocol.py: python -m realtime.protocol > static/protocol.js
export const PROTOCOL_VERSION = 1;
export const NAMESPACE = "/tasks";
export const EVENTS = Object.freeze({
  "TASK_CREATED": "task_created",
  "TASK_PROGRESS": "task_progress",
  "TASK_COMPLETED": "task_completed",
  "TASK_FAILED": "task_failed",
  "TASK_CANCELLED": "task_cancelled",
  "TASK_OUTPUT": "task_output",
  "TASK_REMOVED": "task_removed",
  "TASKS_SNAPSHOT": "tasks_snapshot",
  "SERVER_STATE": "server_state"
});
export const COMMANDS = Object.freeze({
  "SUBSCRIBE": "subscribe",
  "UNSUBSCRIBE": "unsubscribe",
  "CANCEL_TASK": "cancel_task",
  "LIST_TASKS": "list_tasks",
  "REMOVE_TASK": "remove_task",
  "VISIBILITY": "visibility"
});
export const LIMITS = Object.freeze({
  "IDS": 100,
  "CURSORS": 100,
  "SNAPSHOT_TASKS": 100,
  "MESSAGE_BYTES": 16384
});
export const TERMINAL_EVENTS = Object.freeze({
  "completed": "task_completed",
  "failed": "task_failed",
  "cancelled": "task_cancelled"
});
