/** The same as a page asks, for a terminal. */

/** A command that reads a path of this server; the key is in a variable, never in the text. */
export function curl(origin: string, path: string, method = 'GET', body?: unknown): string {
  const way = method === 'GET' ? '' : ` -X ${method}`;
  const sent = body === undefined ? '' : ` -H 'Content-Type: application/json' -d ${quoted(JSON.stringify(body))}`;
  return `curl -sS${way} ${quoted(origin + path)} -H "Authorization: Bearer $TOWERLOG_API_KEY"${sent}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
