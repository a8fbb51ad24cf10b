/** Lets a test import `static/realtime.js` in a fresh checkout, where the build has not put the official client beside it. */

import { register } from "node:module";

const bundle = new URL("../../../../static/node_modules/socket.io-client/dist/socket.io.esm.min.js", import.meta.url);

// Its package says that .js files are CommonJS; browsers, which read no package.json, know better.
register(
  `data:text/javascript,${encodeURIComponent(`
    export async function resolve(specifier, context, next) {
      if (specifier !== "./vendor/socket.io.esm.min.js") return next(specifier, context);
      return { ...(await next(${JSON.stringify(bundle.href)}, context)), format: "module" };
    }
  `)}`,
);
