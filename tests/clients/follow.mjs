// Follows a run with a client of npm and prints what it sees, a JSON object a line.
// node follow.mjs (eventsource|fetch-event-source) URL KEY [stay]: with `stay` it does not close at the `end` frame.
const [library, url, key, stay] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const headers = { Authorization: `Bearer ${key}` };
const counted = async (input, init) => {
  const reply = await fetch(input, init);
  say({ opened: reply.status });
  return reply;
};
const onEvent = (data) => say(data === "" ? { empty: true } : { seq: JSON.parse(data).seq });
const onEnd = (data) => say({ end: JSON.parse(data) });

if (library === "eventsource") {
  const { EventSource } = await import("eventsource");
  const source = new EventSource(url, {
    fetch: (input, init) => counted(input, { ...init, headers: { ...init.headers, ...headers } }),
  });
  source.onmessage = (event) => onEvent(event.data);
  source.addEventListener("end", (event) => {
    onEnd(event.data);
    if (!stay) source.close();
  });
  source.onerror = () => say(source.readyState === 2 ? { closed: true } : { reconnecting: true });
} else {
  // It looks at the page's visibility, and waits with the page's timer.
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = await import("@microsoft/fetch-event-source");
  const control = new AbortController();
  await fetchEventSource(url, {
    headers,
    fetch: counted,
    signal: control.signal,
    openWhenHidden: true,
    onmessage(message) {
      if (message.event !== "end") return onEvent(message.data);
      onEnd(message.data);
      control.abort();
    },
    // As its README has it: a stream that ends without having said so is opened again.
    onclose() {
      throw new Error("closed without an end");
    },
    onerror(error) {
      say({ error: String(error).slice(0, 80) });
    },
  });
}
