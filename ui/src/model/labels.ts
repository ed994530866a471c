/** Labels that a run's sender has given it: `name:value` each, as the filter of the run list takes them. */
export function labelsOf(metadata: Readonly<Record<string, unknown>> | null): string[] {
  const given = metadata?.['labels'];
  const pairs = Object.entries(typeof given === 'object' && given !== null ? given : {});
  return pairs.every(([, value]) => typeof value === 'string') ? pairs.map(([name, value]) => `${name}:${value}`) : [];
}
