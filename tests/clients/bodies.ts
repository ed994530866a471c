// Three bodies, a list and a stream, written as someone would who has nothing but the generated types.
import type { components, paths } from "./api";

type Body<T> = T extends { requestBody?: { content: { "application/json": infer B } } } ? B : never;
type Reply<T> = T extends { responses: { 200: { content: { "application/json": infer B } } } } ? B : never;

const step: Body<paths["/api/ingest"]["post"]> = {
  event_type: "tool_call",
  sdk_run_id: "run-7",
  payload: { tool_name: "search", nested: { deep: [1, null, { any: "thing" }] } },
};

const run: Body<paths["/v1/threads/{thread_id}/runs"]["post"]> = {
  input: { topic: "towers", pages: 3 },
  metadata: { ticket: "T-1" },
  labels: { gpu: "a100" },
};

const batch: Body<paths["/v1/runners/events"]["post"]> = {
  events: [{ type: "thread_started", data: { thread_id: "towers", agent_id: "researcher", anything: true } }],
};

const cost = (rows: Reply<paths["/v1/runs"]["get"]>): number =>
  rows.reduce((sum, row) => sum + (row.total_cost_usd ?? 0), 0);

type Schemas = components["schemas"];
type Streamed = Schemas["FrameData"] | Schemas["DeltaData"] | Schemas["TimedData"];

// The reply as a whole is text; each `data` in it is one of these.
const whole: paths["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"] = "data: {}";

const shown = (event: Streamed): string => {
  const detail: unknown = event.data["anything"];
  if ("content_delta" in event) return event.content_delta;
  return `${event.seq} ${event.type} ${event.created_at} ${String(detail)}`;
};

// @ts-expect-error A status is one of the known words.
const wrong: components["schemas"]["RunDetail"]["status"] = "asleep";

// @ts-expect-error The run's id is missing.
const incomplete: Body<paths["/api/ingest"]["post"]> = { event_type: "step", payload: {} };

export { batch, cost, incomplete, run, shown, step, whole, wrong };
