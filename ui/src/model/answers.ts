/** How a question with a JSON Schema is asked of a person. The server alone decides what fits: nothing is refused here. */

type Fields = Readonly<Record<string, unknown>>;

export interface Choice {
  readonly words: string;
  readonly value: unknown;
}

export type Asking =
  | { readonly kind: 'choice'; readonly choices: readonly Choice[] }
  | { readonly kind: 'text' | 'number' | 'json'; readonly isLong?: boolean }
  | { readonly kind: 'object'; readonly members: readonly Member[] };

export interface Member {
  readonly name: string;
  readonly words: string;
  readonly hint: string;
  readonly isRequired: boolean;
  readonly asking: Asking;
}

/** More than so many are asked for as JSON. */
const MOST_CHOICES = 50;
const MOST_MEMBERS = 20;
/** Words that make a schema more than its type says. */
const BEYOND = ['$ref', 'allOf', 'anyOf', 'oneOf', 'not', 'if', 'patternProperties', 'dependentSchemas'];
const JSON_BOX: Asking = { kind: 'json' };

function fieldsOf(value: unknown): Fields {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Fields) : {};
}

function wordsOf(value: unknown): string {
  if (value === true) return 'Yes';
  if (value === false) return 'No';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** What is shown for a schema. */
export function askingOf(given: unknown, isInner = false): Asking {
  const schema = fieldsOf(given);
  const choices = choicesOf(schema);
  if (choices) return choices.length <= MOST_CHOICES ? { kind: 'choice', choices } : JSON_BOX;
  if (BEYOND.some((word) => word in schema)) return JSON_BOX;
  switch (schema['type']) {
    case 'boolean':
      return { kind: 'choice', choices: [true, false].map((value) => ({ words: wordsOf(value), value })) };
    case 'string':
      return { kind: 'text', isLong: Number(schema['maxLength'] ?? 0) > 200 };
    case 'number':
    case 'integer':
      return { kind: 'number' };
    case 'object':
      return isInner ? JSON_BOX : objectOf(schema);
    default:
      return JSON_BOX;
  }
}

function choicesOf(schema: Fields): Choice[] | null {
  if (Array.isArray(schema['enum']) && schema['enum'].length > 0) return schema['enum'].map((value: unknown) => ({ words: wordsOf(value), value }));
  const named = schema['oneOf'] ?? schema['anyOf'];
  if (!Array.isArray(named) || named.length === 0) return null;
  const options = named.map(fieldsOf);
  if (!options.every((option) => 'const' in option)) return null;
  return options.map(({ const: value, title }) => ({ words: typeof title === 'string' ? title : wordsOf(value), value }));
}

function objectOf(schema: Fields): Asking {
  const properties = Object.entries(fieldsOf(schema['properties']));
  const required = Array.isArray(schema['required']) ? (schema['required'] as unknown[]) : [];
  const isKnown = required.every((name) => properties.some(([known]) => known === name));
  if (properties.length === 0 || properties.length > MOST_MEMBERS || !isKnown) return JSON_BOX;
  const members = properties.map(([name, inner]) => {
    const { title } = fieldsOf(inner);
    const words = typeof title === 'string' ? title : name;
    return { name, words, hint: hintOf(inner), isRequired: required.includes(name), asking: askingOf(inner, true) };
  });
  return { kind: 'object', members };
}

const LIMITS: readonly (readonly [string, (value: unknown) => string])[] = [
  ['minLength', (value) => `at least ${String(value)} characters`],
  ['maxLength', (value) => `at most ${String(value)} characters`],
  ['minimum', (value) => `at least ${String(value)}`],
  ['exclusiveMinimum', (value) => `more than ${String(value)}`],
  ['maximum', (value) => `at most ${String(value)}`],
  ['exclusiveMaximum', (value) => `less than ${String(value)}`],
  ['format', (value) => String(value)],
  ['pattern', (value) => `of the form ${String(value)}`],
];

/** What a schema says about an answer, in words. */
export function hintOf(given: unknown): string {
  const schema = fieldsOf(given);
  const said = typeof schema['description'] === 'string' ? [schema['description']] : [];
  const kind = schema['type'] === 'integer' ? ['a whole number'] : schema['type'] === 'number' ? ['a number'] : [];
  return [...said, ...kind, ...LIMITS.filter(([name]) => name in schema).map(([name, words]) => words(schema[name]))].join(', ');
}

/** What was typed, by the name of its member; the answer itself has the name ''. */
export type Typed = Readonly<Record<string, unknown>>;

/** The answer that was typed, as a value; undefined for nothing. What is no number or JSON goes on as the text that it is. */
export function valueOf(asking: Asking, typed: Typed, name = ''): unknown {
  if (asking.kind === 'object') {
    const told = asking.members.map((member) => [member.name, memberValue(member, typed)] as const);
    return Object.fromEntries(told.filter(([, value]) => value !== undefined));
  }
  const given = typed[name];
  if (asking.kind === 'choice') return typeof given === 'number' ? asking.choices[given]?.value : undefined;
  const text = typeof given === 'string' ? given : '';
  if (asking.kind === 'text') return text;
  if (text.trim() === '') return undefined;
  try {
    const value = JSON.parse(straight(text)) as unknown;
    return asking.kind === 'number' && typeof value !== 'number' ? text : value;
  } catch {
    return text;
  }
}

/** A text that is left empty is an answer only where one is required. */
function memberValue(member: Member, typed: Typed): unknown {
  const value = valueOf(member.asking, typed, member.name);
  return value === '' && !member.isRequired ? undefined : value;
}

/** JSON with the quotes that a phone's keyboard makes of plain ones, where it is none as it stands. */
function straight(text: string): string {
  try {
    JSON.parse(text);
    return text;
  } catch {
    return text.replace(/[\u201c\u201d\u201e]/g, '"');
  }
}

/** The answer as `content`: JSON in a text, which the server takes as the value that it is. What was typed as JSON goes as typed. */
export function contentOf(asking: Asking, typed: Typed): string {
  const text = typed[''];
  if (asking.kind === 'json' || asking.kind === 'number') return typeof text === 'string' ? straight(text) : '';
  return JSON.stringify(valueOf(asking, typed)) ?? '';
}
