// Reads one case a line as JSON, says what a library of the receiving side makes of it, one line of JSON each.
import { createInterface } from "node:readline";
import { EmbedBuilder } from "@discordjs/builders";
import { createRequire } from "node:module";
import { Webhook } from "standardwebhooks";

// Its build for browsers is the one that Node can load, and reads and checks cards without a page.
globalThis.self ??= globalThis;
const cards = createRequire(import.meta.url)("adaptivecards/dist/adaptivecards.js");

const readers = {
  webhook: ({ secret, headers, body }) => new Webhook(secret).verify(body, headers),
  discord: ({ body }) => JSON.parse(body).embeds.map(({ title, color, url, fields }) =>
    new EmbedBuilder().setTitle(title).setColor(color).setURL(url ?? null).addFields(...fields).toJSON()),
  teams: ({ body }) => JSON.parse(body).attachments.map(({ content }) => {
    const card = new cards.AdaptiveCard();
    const context = new cards.SerializationContext();
    card.parse(content, context);
    const faults = [];
    for (let at = 0; at < context.eventCount; at++) faults.push(context.getEventAt(at).message);
    faults.push(...card.validateProperties().validationEvents.map((event) => event.message));
    if (faults.length > 0) throw new Error(faults.join("; "));
    return card.toJSON();
  }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line);
  try {
    console.log(JSON.stringify({ read: readers[given.kind](given) }));
  } catch (error) {
    console.log(JSON.stringify({ refused: String(error.message ?? error) }));
  }
}
