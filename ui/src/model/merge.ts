/** Forms of what others may change meanwhile: a person's own changes are told apart from theirs. */

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);
const isGroup = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The members of `to` that differ from those of `from`. */
export function changes<T extends object>(from: T, to: T): Partial<T> {
  return Object.fromEntries(Object.entries(to).filter(([name, value]) => !isSame(value, from[name as keyof T]))) as Partial<T>;
}

/** What was written, taken over to the thing as it is now: what was changed since it `began` stays, the rest is new. Objects inside go by member, lists as a whole. */
export function rebased<T extends object>(written: T, began: T, now: T): T {
  const own = Object.entries(changes(began, written)).map(([name, value]) => {
    const [before, after] = [began[name as keyof T], now[name as keyof T]];
    return [name, isGroup(value) && isGroup(before) && isGroup(after) ? rebased(value, before, after) : value];
  });
  return { ...now, ...Object.fromEntries(own) } as T;
}
