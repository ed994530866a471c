// Reads a run as AG-UI, live or stored: node read.mjs THREAD_ID RUN_ID, with the address and key in the environment.
import { HttpAgent } from "@ag-ui/client";

const [threadId, runId] = process.argv.slice(2);
const agent = new HttpAgent({
  url: `${process.env.TOWERLOG_URL}/v1/runs/${runId}/agui`,
  threadId,
  headers: { Authorization: `Bearer ${process.env.TOWERLOG_API_KEY}` },
  // The run is there already: it is read, and not begun with a POST.
  fetch: (url, { headers, signal }) => fetch(url, { headers, signal }),
});
const { result, newMessages } = await agent.runAgent(
  { runId },
  { onTextMessageContentEvent: ({ event }) => process.stdout.write(event.delta) },
);
console.log("\n", newMessages.length, "messages, result:", result);
