/** A program that uses the package, compiled as its users do: for Node.js, for a bundler and for a browser. */

import { type Gap, type RunDetail, type RunEvent, Towerlog, TowerlogError } from "towerlog";

const tl = new Towerlog({ url: "http://127.0.0.1:8700", apiKey: "key", overflow: "newest" });

export async function work(): Promise<number> {
  const found: { towers: number } = await tl.run({ agent: "nightly", thread: "t1", input: "go" }, async (run) => {
    const hits: string[] = await run.tool("search", { q: "towers" }, async (call) => {
      call.result = ["Eiffel"];
      return ["Eiffel"];
    });
    await run.step("look", () => hits.length);
    run.modelCall("some-model", { inputTokens: 812, outputTokens: 40, costUsd: "0.0021" });
    const size: number = await run.ask<number>("Size?", { schema: { type: "integer" }, timeoutMs: 1 });
    await fetch("http://127.0.0.1", { signal: run.signal });
    return { towers: hits.length + size };
  });
  return found.towers;
}

export async function read(id: string): Promise<RunDetail> {
  for await (const event of tl.follow(id)) told(event);
  try {
    await tl.cancel(id, "enough");
  } catch (error) {
    if (error instanceof TowerlogError && error.code === "runs.not_active") return tl.get(id);
    throw error;
  }
  const run = await tl.get(id);
  const cost: number | null = run.total_cost_usd;
  if (cost !== null && run.status === "completed") await tl.flush();
  return run;
}

function told(event: RunEvent | Gap): void {
  if (event.type === "gap") return console.log(event.missing);
  console.log(event.seq, event.text, event.data);
  // @ts-expect-error there is no such type
  if (event.type === "run.complete") return;
}

export async function rows(): Promise<number> {
  for await (const run of tl.list({ status: "completed", page_size: 10 })) console.log(run.run_id);
  // @ts-expect-error there is no such status
  void tl.list({ status: "nonsense" });
  // @ts-expect-error a page is no limit
  void tl.list({ limit: 5 });
  const { data } = await tl.request<{ data: unknown[] }>("GET", "/api/v1/agents");
  return data.length;
}

// @ts-expect-error a run has an agent by name
void tl.run({ agent: 7 }, () => 1);
// @ts-expect-error there is no such option
void new Towerlog({ key: "x" });
