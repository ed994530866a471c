/** The lines by which a server that is empty gets its first data. */

/** A first run from a terminal, at this server. */
export function firstRun(origin: string): string {
  return [
    `export TOWERLOG_URL=${origin}`,
    'export TOWERLOG_API_KEY=$(towerlog keys create --name hello --scopes ingest)',
    'towerlog exec --agent hello -- echo "my first run"',
  ].join('\n');
}
