/** The lines by which a server that is empty gets its first data. */

/** A first run from a terminal, at this server; `key` null: one has to be put in. */
export function firstRun(origin: string, key: string | null): string {
  return [
    `export TOWERLOG_URL=${origin}`,
    `export TOWERLOG_API_KEY=${key ?? 'tl_live_…'}`,
    'towerlog exec --agent hello -- echo "my first run"',
  ].join('\n');
}
