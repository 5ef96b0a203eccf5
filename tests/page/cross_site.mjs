// Another site, in a browser that has the certificate: its page tries what a page can.

import { createServer } from "node:https";
import { readFileSync } from "node:fs";
import { check, expect, open, origin, run, same, step, world } from "./browser.mjs";

expect(/./);
run(async () => {
  const site = createServer({ cert: readFileSync(world.site.certificate), key: readFileSync(world.site.key) }, (request, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>elsewhere</title><p>elsewhere");
  });
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const at = `https://localhost:${site.address().port}`;
  const page = await open({ at, ready: false });
  const count = `${origin}/api/v1/namespaces/web/deployments/shop/replicas`;

  const statuses = [];
  page.on("response", (response) => response.url().startsWith(origin) && statuses.push([response.request().method(), response.status()]));
  const tried = await page.evaluate(
    async ([base, count]) => {
      const outcome = async (act) => {
        try {
          const response = await act();
          return `${response.type} ${response.status} ${(await response.text()).length}`;
        } catch (error) {
          return error.name;
        }
      };
      const body = '{"replicaCount":0}';
      const written = { credentials: "include", body };
      return {
        read: await outcome(() => fetch(`${base}/api/v1/deployments`, { credentials: "include" })),
        blindRead: await outcome(() => fetch(`${base}/api/v1/deployments`, { credentials: "include", mode: "no-cors" })),
        put: await outcome(() => fetch(count, { ...written, method: "PUT", headers: { "content-type": "application/json" } })),
        plainPost: await outcome(() => fetch(`${base}/api/v1/namespaces/web/deployments/shop/restart`, { credentials: "include", method: "POST", mode: "no-cors" })),
        textPost: await outcome(() => fetch(`${base}/api/v1/batches`, { ...written, method: "POST", mode: "no-cors", headers: { "content-type": "text/plain" } })),
        beacon: navigator.sendBeacon(`${base}/api/v1/namespaces/web/deployments/shop/restart`),
        script: await new Promise((resolve) => {
          const script = document.createElement("script");
          script.onload = () => resolve("loaded");
          script.onerror = () => resolve("refused");
          script.src = `${base}/page/app.js`;
          document.body.append(script);
        }),
      };
    },
    [origin, count],
  );
  same(tried.read, "TypeError", "a read");
  check(tried.blindRead === "TypeError" || tried.blindRead === "opaque 0 0", "a read that shows nothing:", tried.blindRead);
  same(tried.put, "TypeError", "a write with a type that needs leave");
  for (const way of ["plainPost", "textPost"]) check(["TypeError", "opaque 0 0"].includes(tried[way]), way, tried[way]);
  same(tried.script, "refused", "a script of this server on another site's page");

  // A form, which needs nobody's leave, and the page in a frame.
  const frame = await page.evaluate(
    ([base]) =>
      new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.name = "inside";
        document.body.append(frame);
        const form = document.createElement("form");
        Object.assign(form, { method: "post", action: `${base}/api/v1/namespaces/web/deployments/shop/restart`, target: "inside", enctype: "text/plain" });
        document.body.append(form);
        frame.onload = () => resolve("loaded");
        form.submit();
        setTimeout(() => resolve("silent"), 3000);
      }),
    [origin],
  );
  check(["loaded", "silent"].includes(frame), "the form was sent");
  await page.evaluate(([base]) => Object.assign(document.body.appendChild(document.createElement("iframe")), { src: `${base}/` }), [origin]);
  await page.waitForTimeout(1500);
  for (const inner of page.frames().slice(1)) same(await inner.locator("#grid").count(), 0, "the page in a frame");

  const writes = statuses.filter(([method]) => !["GET", "OPTIONS"].includes(method));
  check(writes.every(([, status]) => status === 403), "every write is 403:", writes);
  check(writes.length >= 1, "writes did reach the server:", statuses);
  same(await step("count", "web", "shop"), 3, "the count");

  // What opens the page in a window of its own has no hold of it.
  const [popup] = await Promise.all([page.waitForEvent("popup"), page.evaluate(([base]) => void (window.opened = window.open(`${base}/`)), [origin])]);
  await popup.locator("#connection[data-state=live]").waitFor();
  same(await page.evaluate(() => window.opened.closed), true, "what its opener sees of it");
  same(await popup.evaluate(() => window.opener), null, "the opener that it has");
  site.close();
});
