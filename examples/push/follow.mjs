// Prints every event of your runs as it happens. First, in this folder: npm install pusher-js@8
// TOWERLOG_URL=http://127.0.0.1:8700 TOWERLOG_API_KEY=tl_ro_… node follow.mjs
import Pusher from "pusher-js";
import { listen } from "./connect.mjs";

await listen(Pusher, process.env.TOWERLOG_URL, process.env.TOWERLOG_API_KEY, {
  listening: () => console.log("listening"),
  refused: (why) => console.error(why),
  event: (event) =>
    console.log(event.event_id, event.agent_name, event.event_type, event.status, JSON.stringify(event.payload)),
});
