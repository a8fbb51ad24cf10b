import assert from "node:assert/strict";
import { test } from "node:test";

import { resolve } from "../../../static/address.js";

const PAGE = "https://app.example";

test("Without a url all comes from the page, and what its meta tag says", () => {
  const facts = { path: "/ws", namespace: "/jobs", api: "/live/v1" };
  assert.deepEqual(resolve(undefined, PAGE, facts), {
    socket: "https://app.example/jobs",
    path: "/ws",
    api: "https://app.example/live/v1",
    sameOrigin: true,
  });
});

test("Without a meta tag the usual places are taken", () => {
  assert.deepEqual(resolve(undefined, PAGE, {}), {
    socket: "https://app.example/tasks",
    path: "/socket.io",
    api: "https://app.example/realtime/v1",
    sameOrigin: true,
  });
});

test("Another server has nothing to do with the page's meta tag", () => {
  const facts = { path: "/ws", namespace: "/jobs", api: "/live/v1" };
  assert.deepEqual(resolve("http://jobs.example:5000", PAGE, facts), {
    socket: "http://jobs.example:5000/tasks",
    path: "/socket.io",
    api: "http://jobs.example:5000/realtime/v1",
    sameOrigin: false,
  });
});

test("A url may carry the prefix under which an app is mounted", () => {
  const { socket, path, api } = resolve("https://app.example/team/", PAGE, { path: "/ws" });
  assert.equal(socket, "https://app.example/tasks");
  assert.equal(path, "/team/socket.io");
  assert.equal(api, "https://app.example/team/realtime/v1");
});

test("Where there is no page a url is needed", () => {
  assert.throws(() => resolve(undefined, undefined, {}), /needs a url/);
  assert.equal(resolve("http://127.0.0.1:5000", undefined, {}).socket, "http://127.0.0.1:5000/tasks");
});

test("What is not http is refused", () => {
  assert.throws(() => resolve("ftp://app.example", PAGE, {}), /http or https/);
  assert.throws(() => resolve("javascript:alert(1)", PAGE, {}), /http or https/);
});
