/** Whatever a server answers: no batch is lost by it, errors say what they are, and the key goes to that server alone. */

import assert from "node:assert/strict";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { TowerlogError } from "towerlog";

import { Relay } from "./support/relay.js";
import { client, eventsOf, typesOf, unique } from "./support/rig.js";

/** An object that throws where it is made a text. */
const NO_TEXT = '{"toString":1,"valueOf":1}';
/** A value of every type that a member may have, each of them wrong somewhere. */
const ODD = ["null", "7", "true", '"word"', "[]", '[{"a":1}]', "{}", NO_TEXT, `[${NO_TEXT}]`];
const [MEMBERS, COMMAND] = [["status", "code", "message", "run_id"], ["run_key", "command_id", "type", "question_key", "content", "expired"]];

/** Bodies of a reply to a batch of so many events, each with one member that has another type than it should. */
function* oddReplies(events: number, runKey: string): Generator<string> {
  const good = '{"event_id":"x","status":"refused","code":"c","message":"m"}';
  const list = (one: string): string => `[${Array.from({ length: events }, () => one).join(",")}]`;
  for (const odd of ODD) {
    yield odd;
    for (const name of ["results", "commands"]) yield `{"results":${list('{"status":"unknown"}')},"${name}":${odd}}`;
    yield `{"results":${list(odd)},"commands":[]}`;
    for (const name of MEMBERS) yield `{"results":${list(good.replace("refused", "unknown").replace("}", `,"${name}":${odd}}`))},"commands":[]}`;
    for (const name of COMMAND) {
      const command = `{"run_key":${JSON.stringify(runKey)},"command_id":"c${name}","type":"message","content":"x","${name}":${odd}}`;
      yield `{"results":${list('{"status":"unknown"}')},"commands":[${odd},${command}]}`;
    }
  }
}

test("no odd reply loses a batch", async () => {
  const relay = await new Relay().start();
  const runKey = unique("odd");
  for (const [at] of [...oddReplies(2, runKey)].entries()) {
    const key = `${runKey}-${at}`;
    const { tl } = client({ url: relay.url, onProblem: () => undefined });
    let isFirst = true;
    relay.fault = (one) => {
      if (one.path !== "/api/v1/events" || !isFirst) return undefined;
      isFirst = false;
      const events = (JSON.parse(one.body) as { events: unknown[] }).events.length;
      return { status: 200, body: [...oddReplies(events, key)][at] ?? "" };
    };
    tl.startRun({ runKey: key }).finish();
    assert.ok(await tl.flush(10_000), `delivered after ${[...oddReplies(2, key)][at]}`);
    assert.deepEqual(typesOf(await eventsOf(tl, key)), ["run.started", "run.completed"]);
    await tl.close();
  }
  await relay.stop();
});

test("a refused event whose words are none is told as refused", async () => {
  const relay = await new Relay().start();
  const { tl, problems } = client({ url: relay.url });
  let isFirst = true;
  relay.fault = (one) => {
    if (one.path !== "/api/v1/events" || !isFirst) return undefined;
    isFirst = false;
    return { status: 200, body: `{"results":[{"status":"refused","code":${NO_TEXT},"message":${NO_TEXT}}],"commands":[]}` };
  };
  tl.startRun({ runKey: unique("refused") });
  assert.equal(await tl.flush(10_000), false, "one was dropped");
  assert.equal(tl.status().refused, 1);
  assert.ok(problems.some((words) => words.includes("the server rejected it (no reason)")), problems.join("\n"));
  await Promise.all([tl.close(), relay.stop()]);
});

test("a refusal is told as what it is, whatever its body says", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  for (const odd of ODD) {
    for (const body of [odd, `{"error":${odd}}`, `{"error":{"code":${odd},"message":${odd},"details":{"a":${odd}}}}`, `{"detail":${odd},"errors":${odd}}`]) {
      relay.fault = () => ({ status: 422, body });
      const failed = await tl.get("r").catch((error: unknown) => error);
      assert.ok(failed instanceof TowerlogError && failed.status === 422, `${body}: ${String(failed)}`);
    }
  }
  await Promise.all([tl.close(), relay.stop()]);
});

test("a cancel is one, whatever it says beside", async () => {
  const relay = await new Relay().start();
  for (const odd of ODD) {
    const { tl } = client({ url: relay.url, onProblem: () => undefined });
    const runKey = unique("cancel");
    relay.fault = (one) => {
      const asked = one.path === "/api/v1/events" ? (JSON.parse(one.body) as { events: unknown[]; runs: string[] }) : null;
      if (asked === null || asked.events.length > 0 || !asked.runs.includes(runKey)) return undefined;
      return { status: 200, body: `{"results":[],"commands":[{"run_key":"${runKey}","command_id":1,"type":"cancel","content":${odd}}]}` };
    };
    const run = tl.startRun({ runKey });
    const answer = await run.ask("Go on?", { timeoutMs: 20_000 }).catch((error: unknown) => error);
    assert.ok(answer instanceof TowerlogError && answer.code === "cancelled", `${odd}: ${String(answer)}`);
    await tl.close();
  }
  await relay.stop();
});

test("the key goes to its own server alone, whatever a link says", async () => {
  const stolen: string[] = [];
  const thief = http.createServer((request, response) => {
    stolen.push(String(request.headers.authorization));
    response.end("[]");
  });
  await new Promise<void>((resolve) => thief.listen(0, "127.0.0.1", resolve));
  const { port } = thief.address() as AddressInfo;
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  const targets = [`${port}/a?b=c`, `http://127.0.0.1:${port}/a?b=c`, `//127.0.0.1:${port}/a?b=c`, `@127.0.0.1:${port}/a?b=c`, "/a?b=c"];
  for (const target of targets) {
    relay.seen.length = 0;
    relay.fault = () => ({ status: 200, body: "[]", headers: relay.seen.length === 1 ? { Link: `<${target}>; rel="next"` } : {} });
    for await (const run of tl.list({})) assert.fail(JSON.stringify(run));
    assert.equal(relay.seen.length, 2);
    assert.equal(relay.seen[1]?.path, "/v1/runs?b=c", target);
  }
  for (const path of [`${port}/x`, `@127.0.0.1:${port}/x`, `//127.0.0.1:${port}/x`, ".example.com/", ""]) {
    await assert.rejects(tl.request("GET", path), { code: "invalid_argument" });
  }
  assert.deepEqual(stolen, []);
  thief.closeAllConnections();
  thief.close();
  await Promise.all([tl.close(), relay.stop()]);
});

test("streams without anything in them are given up after the time that a server may be away", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  relay.fault = () => ({ status: 200, headers: { "Content-Type": "text/event-stream" }, body: "" });
  const followed = (async () => {
    for await (const event of tl.follow("r", { patienceMs: 700 })) assert.fail(JSON.stringify(event));
  })();
  await assert.rejects(followed, { code: "unreachable", message: /before anything came/ });
  assert.ok(relay.seen.length >= 2 && relay.seen.length < 12, `${relay.seen.length} requests, with pauses that grow`);
  await Promise.all([tl.close(), relay.stop()]);
});

test("an event without a place in its stream ends it", async () => {
  const relay = await new Relay().start();
  const { tl } = client({ url: relay.url });
  for (const odd of ODD.filter((one) => one !== "7")) {
    const body = `data: {"seq":${odd},"type":"step"}\n\n`;
    relay.fault = () => ({ status: 200, headers: { "Content-Type": "text/event-stream" }, body });
    const followed = (async () => {
      for await (const event of tl.follow("r")) assert.fail(JSON.stringify(event));
    })();
    await assert.rejects(followed, { code: "bad_answer" });
  }
  await Promise.all([tl.close(), relay.stop()]);
});
