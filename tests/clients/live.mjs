// Watches rows with npm's `eventsource`, with nothing but a ticket in the URL, and prints what it sees, an object a line.
// node live.mjs eventsource URL KEY: asks for a new ticket whenever it has to connect, as a page does.
import { EventSource } from "eventsource";

const [, url, key] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const headers = { Authorization: `Bearer ${key}` };
let cursor = "";

async function watch() {
  const { ticket } = await (await fetch(`${url}/api/v1/stream-tickets`, { method: "POST", headers })).json();
  const source = new EventSource(`${url}/api/v1/live?kind=run&cursor=${cursor}&ticket=${ticket}`);
  const from = (event) => (cursor = event.lastEventId || cursor);
  source.addEventListener("snapshot", (event) => (from(event), say({ snapshot: JSON.parse(event.data).resumed })));
  source.addEventListener("run", (event) => {
    from(event);
    const { run_id, status } = JSON.parse(event.data);
    say({ run: `${run_id} ${status}` });
  });
  source.addEventListener("position", from);
  source.addEventListener("gap", (event) => say({ gap: JSON.parse(event.data).reason }));
  source.onerror = () => {
    source.close();
    setTimeout(() => watch().catch(source.onerror), 50);
  };
}
watch();
