// Listens to every event of the runs of a key's user. `Pusher` is the library, pusher-js; `told` has a function each for
// `listening`, `refused` and `event`. Throws what the server has against the key.
export const listen = async (Pusher, server, key, told) => {
  const url = server.replace(/\/+$/, "");
  const headers = { Authorization: `Bearer ${key}` };
  const ask = async (path) => {
    const reply = await fetch(url + path, { headers });
    if (!reply.ok) throw new Error((await reply.json()).detail);
    return reply.json();
  };
  const push = await ask("/api/v1/push");
  const { user_id } = await ask("/api/v1/whoami");

  const { hostname, port, protocol } = new URL(url);
  const pusher = new Pusher(push.app_key, {
    cluster: "",
    wsHost: hostname,
    wsPort: port || 80,
    wssPort: port || 443,
    forceTLS: protocol === "https:",
    enabledTransports: ["ws", "wss"],
    channelAuthorization: { endpoint: url + push.auth_endpoint, headers },
  });
  const channel = pusher.subscribe(push.channels.user.replace("{id}", user_id));
  channel.bind("pusher:subscription_succeeded", told.listening);
  channel.bind("pusher:subscription_error", (error) => told.refused(error.error));
  channel.bind("agent.event", told.event);
};
