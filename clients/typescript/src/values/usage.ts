/**
 * What providers and frameworks say that one model call has used, in buckets that share no token.
 *
 * The buckets: input that was neither read from nor written to a cache, input read from a cache, input written to it,
 * output that is seen, and reasoning. Others count otherwise: in some forms the input includes what was cached, in others
 * it does not. So each form has a usual meaning, and where a total is told beside the figures, that meaning counts which
 * adds up to it. The forms are those of the SDK for Python (`usage_forms.ts` is written from them).
 */

import { count, dollars } from "./figures.js";
import {
  ANYWHERE,
  COST,
  COST_PARTS,
  FORMS,
  type Form,
  GEO,
  IS_OWN_KEY,
  NO_FURTHER,
  OF_CACHE,
  OF_MONEY,
  PARTS,
  STANDARD,
  TICKS,
  TICKS_PER_DOLLAR,
  TIER_MARKS,
  TIERS,
  UPSTREAM,
} from "./usage_forms.js";

export const BUCKETS = ["input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"] as const;
export const TOTAL = "total_tokens";

/** Buckets, and what the price of a call goes by beside them: parts of them by the names of the server, terms, a cost. */
export interface Usage extends Partial<Record<(typeof BUCKETS)[number] | typeof TOTAL, number>> {
  [term: string]: number | string | undefined;
}

type Tokens = number | undefined;
/** The buckets, in their order. */
type Split = readonly [Tokens, Tokens, Tokens, Tokens, Tokens];

/** What a provider says of one call, in buckets, and the total where it says more; undefined if it says nothing known. */
export function usageOf(usage: unknown): Usage | undefined {
  if (typeof usage !== "object" || usage === null) return undefined;
  for (const form of FORMS) {
    const known = form.marks.some((mark) => mark in usage) ? inBuckets(form, usage) : {};
    if (Object.keys(known).length > 0) return { ...known, ...termsIn(usage) };
  }
  return undefined;
}

function inBuckets(form: Form, usage: object): Usage {
  const splits = meanings(form, usage);
  const told = countAt(usage, form.total);
  const total = form.isTotalBare && told === bareSum(form, usage) ? undefined : told;
  const split = meant(splits, total);
  // They include each other, and nobody knows how.
  if (total !== undefined && total > 0 && sumOf(split) > total) return { [TOTAL]: total };
  const known: Usage = {};
  BUCKETS.forEach((bucket, index) => {
    const tokens = split[index];
    if (tokens !== undefined) known[bucket] = tokens;
  });
  if (total !== undefined && (total > sumOf(split) || Object.keys(known).length === 0)) known[TOTAL] = total;
  return known;
}

/** What the figures may mean, the usual meaning first; the last counts no token that the wholes do not include. */
function meanings(form: Form, usage: object): Split[] {
  const whole = countAt(usage, form.input);
  const output = countAt(usage, form.output);
  const [ofInput, ofOutput] = form.others;
  const beside = ofInput === undefined ? countAt(usage, form.besideInput) : othersAt(usage, ofInput, form);
  const besideOutput = ofOutput === undefined ? undefined : othersAt(usage, ofOutput, form);
  const cached = countAt(usage, form.cached);
  const written = countAt(usage, form.written);
  const reasoning = countAt(usage, form.reasoning);
  const found: Split[] = [];
  for (const cacheInside of [form.isCacheInside, !form.isCacheInside]) {
    for (const reasoningInside of [form.isReasoningInside, !form.isReasoningInside]) {
      const fresh = cacheInside ? apart(whole, cached, written) : whole;
      const seen = reasoningInside ? apart(output, reasoning) : output;
      found.push([withBeside(fresh, beside), cached, written, withBeside(seen, besideOutput), reasoning]);
    }
  }
  const isBeside = form.others.length > 0 && (beside !== undefined || besideOutput !== undefined);
  if (isBeside) return [...found, ...meanings({ ...form, others: [] }, usage)];
  const leastWritten = atMost(written, whole);
  const leastCached = atMost(cached, whole === undefined ? undefined : whole - (leastWritten ?? 0));
  const leastReasoning = atMost(reasoning, output);
  const fresh = apart(whole, leastCached, leastWritten);
  found.push([withBeside(fresh, beside), leastCached, leastWritten, apart(output, leastReasoning), leastReasoning]);
  return found;
}

/** The sum of what is told by names that begin so and that the form does not name otherwise; with and without `_tokens` once. */
function othersAt(usage: object, prefix: string, form: Form): Tokens {
  const paths = [form.marks, form.input, form.output, form.cached, form.written, form.reasoning, form.total].flat();
  const named = [...paths.flatMap((path) => path.split("+")), ...NO_FURTHER];
  const told = new Map<string, number>();
  for (const [name, value] of Object.entries(usage)) {
    const isFurther = name.startsWith(prefix) && !named.includes(name) && !OF_MONEY.some((word) => name.includes(word));
    const tokens = isFurther ? count(value) : undefined;
    if (tokens !== undefined) told.set(name.endsWith("_tokens") ? name.slice(0, -"_tokens".length) : name, tokens);
  }
  return told.size === 0 ? undefined : sumOf([...told.values()]);
}

/**
 * Input and output together, where more was read from a cache and written to it than the input could include: a total
 * that says no more leaves that out. Undefined where they could be in it.
 */
function bareSum(form: Form, usage: object): Tokens {
  const whole = countAt(usage, form.input);
  const ofCache = (countAt(usage, form.cached) ?? 0) + (countAt(usage, form.written) ?? 0);
  return whole === undefined || ofCache <= whole ? undefined : whole + (countAt(usage, form.output) ?? 0);
}

/** The first that adds up to the total; else the first that does not exceed it. */
function meant(splits: Split[], total: Tokens): Split {
  const [usual] = splits as [Split];
  if (total === undefined) return usual;
  const exact = splits.find((split) => sumOf(split) === total);
  return exact ?? splits.find((split) => sumOf(split) <= total) ?? splits.at(-1) ?? usual;
}

/** The first of these members that is not 0, as a number of tokens; 0 where one is told. Throws for what is no number. */
function countAt(usage: object, paths: readonly string[]): Tokens {
  const told = paths.map((path) => sumAt(usage, path)).filter((tokens) => tokens !== undefined);
  return told.find((tokens) => tokens > 0) ?? told[0];
}

function sumAt(usage: object, path: string): Tokens {
  const found = path.split("+").map((name) => memberAt(usage, name));
  const given = found.filter((member) => member !== undefined && member !== null).map(count);
  if (given.includes(undefined)) throw new TypeError("not a count");
  return given.length === 0 ? undefined : sumOf(given);
}

function memberAt(usage: object, path: string): unknown {
  let found: unknown = usage;
  const [names, word] = path.replace("]", "").split("[") as [string, string?];
  // Some write the way to a member as one name.
  for (const name of names in usage ? [names] : names.split(".")) found = memberOf(found, name);
  return word === undefined ? found : ofList(found, word);
}

function memberOf(value: unknown, ...names: string[]): unknown {
  const given = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  return names.map((name) => given[name]).find((member) => member !== undefined && member !== null);
}

/** The tokens of those items of a list that are of this modality or duration; undefined where it is no list. */
function ofList(items: unknown, word: string): number | undefined {
  if (!Array.isArray(items)) return undefined;
  const meant = items.filter((item) => String(memberOf(item, "modality", "ttl")).toUpperCase() === word);
  return meant.reduce<number>((sum, item) => sum + (count(memberOf(item, "tokenCount", "token_count", "inputTokens", "input_tokens", "tokens")) ?? 0), 0);
}

/** What the price goes by beside the buckets. What cannot be used is left out: the buckets have these tokens too. */
function termsIn(usage: object): Usage {
  const found: Usage = {};
  for (const [part, paths] of Object.entries(PARTS)) {
    const tokens = count(firstAt(usage, paths));
    const whole = OF_CACHE[part];
    if (tokens !== undefined && (tokens > 0 || (whole !== undefined && whole in found))) found[part] = tokens;
  }
  const tier = tierIn(usage);
  if (tier !== undefined) found.service_tier = tier;
  const cost = costIn(usage);
  if (cost !== undefined) found.cost_usd = cost;
  return found;
}

/** The terms of a call where they are not the standard. */
function tierIn(usage: object): string | undefined {
  const place = memberAt(usage, GEO);
  // Whatever else holds, the price is another one there.
  if (typeof place === "string" && !ANYWHERE.includes(place.trim().toLowerCase())) return `${GEO}:${place}`;
  const named = TIERS.map((name) => memberAt(usage, name)).find((word) => typeof word === "string" && word !== "" && !STANDARD.includes(word.toLowerCase()));
  const marked = Object.keys(TIER_MARKS).find((tier) => firstAt(usage, TIER_MARKS[tier] ?? []) !== undefined);
  return typeof named === "string" ? named : marked;
}

function firstAt(usage: object, paths: readonly string[]): unknown {
  return paths.map((path) => memberAt(usage, path)).find((member) => member !== undefined && member !== null);
}

/** The costs of input and output together, where both are told. */
function sumOfParts(usage: object): number | undefined {
  for (const paths of COST_PARTS) {
    const [input, output] = paths.map((path) => dollars(memberAt(usage, path)));
    if (input !== undefined && output !== undefined) return Number((input + output).toPrecision(15));
  }
  return undefined;
}

function ticksIn(usage: object): number | undefined {
  const ticks = count(memberAt(usage, TICKS));
  return ticks === undefined ? undefined : dollars(ticks / TICKS_PER_DOLLAR);
}

/** What a call cost, as its provider says: with what another takes who is paid by a key of one's own. */
function costIn(usage: object): number | undefined {
  const told = COST.map((path) => dollars(memberAt(usage, path))).find((found) => found !== undefined);
  const cost = told ?? ticksIn(usage) ?? sumOfParts(usage);
  const upstream = dollars(memberAt(usage, UPSTREAM));
  if (cost === undefined || upstream === undefined) return cost ?? upstream;
  const isOwnKey = memberAt(usage, IS_OWN_KEY);
  const isBeside = typeof isOwnKey === "boolean" ? isOwnKey : cost < upstream;
  return isBeside ? Math.round((cost + upstream) * 1e9) / 1e9 : cost;
}

function sumOf(split: readonly Tokens[]): number {
  return split.reduce<number>((sum, tokens) => sum + (tokens ?? 0), 0);
}

function withBeside(tokens: Tokens, beside: Tokens): Tokens {
  return beside === undefined ? tokens : (tokens ?? 0) + beside;
}

function atMost(tokens: Tokens, whole: Tokens): Tokens {
  return tokens === undefined || whole === undefined ? tokens : Math.min(tokens, whole);
}

/** What is left of a sum without its parts. Parts that are more than the sum were not inside it. */
function apart(whole: Tokens, ...parts: Tokens[]): Tokens {
  const known = parts.reduce<number>((sum, part) => sum + (part ?? 0), 0);
  return whole === undefined || known > whole ? whole : whole - known;
}
