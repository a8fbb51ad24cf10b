/** The declarations by hand against the types that the compiler finds in the code itself, and against their use. */

import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

import ts from "../../../static/node_modules/typescript/lib/typescript.js";

const STATIC = fileURLToPath(new URL("../../../static/", import.meta.url));

/** In these files `code:x` is the script x itself, where `./x.js` is what its .d.ts says of it. */
const FILES = {
  "compare.ts": `
    import * as realtime from "code:realtime";
    import * as store from "code:task-store";
    import { Client } from "code:client";
    import { TaskHandle } from "code:task-handle";
    import * as written from "./realtime.js";
    import * as writtenStore from "./task-store.js";

    type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : { only: Exclude<B, A> }) : { only: Exclude<A, B> };
    export const names: Same<keyof typeof realtime, keyof typeof written> = true;
    export const storeNames: Same<keyof typeof store, keyof typeof writtenStore> = true;
    export const client: Same<keyof Client, keyof written.Client> = true;
    export const handle: Same<keyof TaskHandle, keyof written.TaskHandle> = true;
    export const failed: Same<keyof realtime.TaskFailed, keyof written.TaskFailed> = true;
    export const cancelled: Same<keyof realtime.TaskCancelled, keyof written.TaskCancelled> = true;
    export const removed: Same<keyof realtime.TaskRemoved, keyof written.TaskRemoved> = true;
    export const notFound: Same<keyof realtime.NotFound, keyof written.NotFound> = true;
    export const denied: Same<keyof realtime.Denied, keyof written.Denied> = true;

    export const keepsItsWord: typeof written = realtime;
    export const storeKeepsItsWord: typeof writtenStore = store;

    // And this comparison sees what it is there for.
    // @ts-expect-error a name that only one has
    export const missing: Same<keyof Client, keyof written.Client | "missing"> = true;
    // @ts-expect-error another type
    export const wrong: (options: number) => written.Client = realtime.connect;
  `,
  "page.ts": `
    import { connect, client, TaskFailed, type Task } from "./realtime.js";

    const rt = connect({ ticket: async () => (await fetch("/ticket")).text() });
    const stop: () => void = rt.task(7).subscribe((task, { known }) => console.log(task?.progress.percent, known));
    rt.tasks((tasks: readonly Task[], { loading }) => console.log(tasks.length, loading));
    rt.task(7).output(({ text, lost, first }) => console.log(text.length + lost, first), { stream: "errors" })();
    rt.onState(({ state, retryAt }) => console.log(state === "stale", retryAt));
    const found = client("ada");
    export async function wait() {
      try {
        return await rt.task("a").done({ signal: AbortSignal.timeout(5) });
      } catch (error) {
        if (error instanceof TaskFailed) console.log(error.task.error?.code, error.code);
      }
      (await found).reconnect();
      stop();
    }
    // @ts-expect-error a ticket is a string
    connect({ ticket: 7 });
    // @ts-expect-error there is no such state
    export const isUp = rt.state.state === "connected";
    // @ts-expect-error the task may be null
    rt.task("a").subscribe((task) => task.name);
    // @ts-expect-error snapshots are not to be changed
    rt.tasks(([task]) => { task.name = "x"; });
  `,
};

test("The declarations say what the code does, and a page that uses it as documented compiles", () => {
  const { config } = ts.readConfigFile(join(STATIC, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson({ ...config.compilerOptions, skipLibCheck: true }, STATIC);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile, getSourceFile } = host;
  const ours = (path) => (path.startsWith(STATIC) ? FILES[path.slice(STATIC.length)] : undefined);
  host.fileExists = (path) => ours(path) !== undefined || fileExists(path);
  host.readFile = (path) => ours(path) ?? readFile(path);
  host.getSourceFile = (path, ...rest) => {
    const text = ours(path);
    return text === undefined ? getSourceFile(path, ...rest) : ts.createSourceFile(path, text, ts.ScriptTarget.ES2022);
  };
  host.resolveModuleNameLiterals = (literals, from, _redirected, forOptions) =>
    literals.map(({ text }) => {
      if (!text.startsWith("code:")) return ts.resolveModuleName(text, from, forOptions, host);
      const resolvedFileName = join(STATIC, `${text.slice("code:".length)}.js`);
      return { resolvedModule: { resolvedFileName, extension: ts.Extension.Js } };
    });
  const program = ts.createProgram(Object.keys(FILES).map((name) => join(STATIC, name)), options, host);
  const complaints = ts.getPreEmitDiagnostics(program).map(({ messageText, file, start }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start ?? 0).line + 1 : 0;
    return `${file?.fileName}:${line}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`;
  });
  assert.deepEqual(complaints, []);
});
