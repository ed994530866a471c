/** JSON values for reading. */

/** What is inside, without opening it: `3 items`, or the first keys. */
export function preview(value: unknown): string {
  if (Array.isArray(value)) return value.length === 1 ? '1 item' : `${value.length} items`;
  if (value !== null && typeof value === 'object') {
    const keys = Object.keys(value);
    return `{ ${keys.slice(0, 4).join(', ')}${keys.length > 4 ? ', …' : ''} }`;
  }
  return String(value);
}

/** A value in one text: a string as it is, anything else as JSON. */
export function asText(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : (JSON.stringify(value, null, 2) ?? '');
}

const TOKENS = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** A member of an object, as it stands in JSON text; null where there is none. */
export function memberOf(text: string, name: string): string | null {
  let depth = 0;
  let from = -1;
  let before = '';
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (from < 0 && depth === 1 && token === ':' && before === JSON.stringify(name)) from = index + 1;
    else if (from >= 0 && depth === 1 && (token === ',' || token === '}')) return text.slice(from, index).trim();
    if (token === '{' || token === '[') depth++;
    else if (token === '}' || token === ']') depth--;
    before = token;
  }
  return null;
}

/** JSON text in lines, each value as it is written: numbers over 2^53 are others once they are read. */
export function indented(text: string): string {
  const tokens = text.match(TOKENS) ?? [];
  let depth = 0;
  return tokens
    .map((token, at) => {
      const line = (change: number): string => `\n${'  '.repeat((depth += change))}`;
      if (token === '{' || token === '[') return /^[}\]]$/.test(tokens[at + 1] ?? '') ? token : token + line(1);
      if (token === '}' || token === ']') return /^[{[]$/.test(tokens[at - 1] ?? '') ? token : line(-1) + token;
      return token === ',' ? token + line(0) : token === ':' ? ': ' : token;
    })
    .join('');
}
