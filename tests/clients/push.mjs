// Follows a user's runs with a client of live push, as its README has it, and prints what it sees, a JSON object a line.
// node push.mjs (pusher-js|laravel-echo) URL KEY USER [OTHER]: OTHER is a user whose channel is asked for as well.
const [library, url, key, user, other] = process.argv.slice(2);
const say = (what) => process.stdout.write(JSON.stringify(what) + "\n");
const { hostname, port } = new URL(url);
const headers = { Authorization: `Bearer ${key}` };
const { default: Pusher } = await import("pusher-js");
const heard = (event) => say({ event: event.event_id, type: event.event_type, run: event.sdk_run_id });

let pusher;
if (library === "pusher-js") {
  pusher = new Pusher("towerlog", {
    cluster: "",
    wsHost: hostname,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    channelAuthorization: { endpoint: `${url}/broadcasting/auth`, headers },
  });
  for (const one of [user, other].filter(Boolean)) {
    const channel = pusher.subscribe(`private-user.${one}`);
    channel.bind("agent.event", heard);
    channel.bind("pusher:subscription_succeeded", () => say({ subscribed: one }));
    channel.bind("pusher:subscription_error", (error) => say({ refused: one, status: error.status }));
  }
} else {
  const { default: Echo } = await import("laravel-echo");
  globalThis.Pusher = Pusher;
  const echo = new Echo({
    broadcaster: "reverb",
    key: "towerlog",
    wsHost: hostname,
    wsPort: port,
    forceTLS: false,
    enabledTransports: ["ws"],
    authEndpoint: `${url}/broadcasting/auth`,
    bearerToken: key,
    Pusher,
  });
  for (const one of [user, other].filter(Boolean)) {
    echo
      .private(`user.${one}`)
      .listen(".agent.event", heard)
      .subscribed(() => say({ subscribed: one }))
      .error((error) => say({ refused: one, status: error.status }));
  }
  pusher = echo.connector.pusher;
}
pusher.connection.bind("error", ({ error, data }) => say({ told: (data ?? error?.data)?.code ?? null }));
pusher.connection.bind("state_change", ({ current }) => say({ state: current }));
