/** Snapshots of tasks as the server sends them, with times in seconds before `NOW`. */

export const NOW = Date.parse("2026-11-24T14:03:30.000Z");

/** @param {number | null} seconds */
export const ago = (seconds) => (seconds === null ? null : new Date(NOW - seconds * 1000).toISOString());

/** A task of ada's that has been running for ten seconds; `progress` is laid over an empty one. */
export function snapshot({ progress = {}, ...rest } = {}) {
  return {
    task_id: "t1", user: "ada", groups: [], name: "Export", status: "processing", version: 1, epoch: "e1",
    created_at: ago(10), started_at: ago(10), updated_at: ago(0), completed_at: null, result: null, error: null,
    cancellable: true, cancel_requested_at: null, cancel_acknowledged_at: null, stalled_since: null, attempt: 1, retry_of: null, parent_id: null, retried_by: null, children: null, output_size: 0, metadata: {},
    ...rest,
    progress: { current: null, total: null, unit: null, percent: null, message: "", rate: null, eta: null, ...progress },
  };
}

/** Let mocked timers run, one millisecond after the other: one tick would date what they start to its end. */
export function passTime(t, ms) {
  for (let passed = 0; passed < ms; passed += 1) t.mock.timers.tick(1);
}
