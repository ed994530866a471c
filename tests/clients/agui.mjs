// Reads a run with the client of AG-UI and prints what it has made of it, a JSON object a line.
// node agui.mjs ag-ui URL KEY THREAD RUN
const [, url, key, threadId, runId] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
// What a client complains of is a finding as well.
console.warn = (...words) => say({ warning: words.map(String).join(" ") });
const { HttpAgent } = await import("@ag-ui/client");
const agent = new HttpAgent({
  url,
  threadId,
  headers: { Authorization: `Bearer ${key}` },
  fetch: (address, { headers, signal }) => fetch(address, { headers, signal }),
});
try {
  const { result, newMessages } = await agent.runAgent(
    { runId },
    {
      onEvent: ({ event }) => say({ type: event.type }),
      onCustomEvent: ({ event }) => say({ custom: event.name }),
      onRunErrorEvent: ({ event }) => say({ failed: event.message }),
    },
  );
  say({ end: { result, messages: newMessages } });
} catch (error) {
  say({ error: String(error) });
}
