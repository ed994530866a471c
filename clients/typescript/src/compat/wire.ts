/** The dialect `steps`: one event a request. Its rate is limited by the server, whose `Retry-After` is heeded. */

import { type BatchReply, type Range, type Wire, commandsOf, failedReply } from "../wire/batch.js";
import { TowerlogError } from "../wire/errors.js";
import { type Http, failureOf } from "../wire/http.js";
import { uuid7 } from "../wire/ids.js";
import { type JsonObject, isObject, jsonOf } from "../wire/refusals.js";

export class StepsWire implements Wire {
  readonly maxEvents = 1;

  constructor(private readonly http: Http) {}

  async send(lines: readonly string[]): Promise<BatchReply> {
    const [body] = lines;
    if (body === undefined) return reply({ results: [] });
    try {
      return read(jsonOf(await this.http.request("POST", "/api/ingest", { body })), body);
    } catch (error) {
      const failure = failureOf(error);
      // Another event has this id: that one was stored, and this one never will be.
      if (failure.status === 409 && failure.code !== "in_progress") {
        return reply({ results: [{ status: "refused", code: failure.code, message: failure.message }] });
      }
      return failedReply(failure);
    }
  }

  notice(range: Range): string {
    const payload = { node_name: "client.dropped", output: { from: range.from, to: range.to, reason: range.reason } };
    return JSON.stringify({ event_type: "step", sdk_run_id: range.runKey, event_id: uuid7(), payload });
  }
}

function read(body: unknown, sent: string): BatchReply {
  if (!isObject(body) || body.status !== "ok") {
    return failedReply(new TowerlogError("bad_answer", "the reply is not that of a Towerlog server"));
  }
  const runKey = String((JSON.parse(sent) as JsonObject).sdk_run_id);
  const named = commandsOf(Array.isArray(body.commands) ? body.commands.map((one) => (isObject(one) ? { ...one, run_key: runKey } : one)) : []);
  const warning = typeof body.budget_warning === "string" ? body.budget_warning : "";
  return reply({ results: [{ status: "stored" }], commands: named, words: warning });
}

function reply(members: Partial<BatchReply>): BatchReply {
  return { disposition: "taken", results: [], commands: [], retryAfterMs: 0, words: "", ...members };
}
