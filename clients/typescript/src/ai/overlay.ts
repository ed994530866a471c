/** An object with some members replaced, which is otherwise what it was: its methods and private fields keep working. */

export function overlay<T extends object>(given: T, members: Readonly<Record<string, unknown>>): T {
  return new Proxy(unfrozen(given), {
    get(inner, name) {
      if (typeof name === "string" && Object.hasOwn(members, name)) return members[name];
      const value: unknown = Reflect.get(inner, name, inner);
      return typeof value === "function" ? (value.bind(inner) as unknown) : value;
    },
  });
}

/** A proxy must tell the truth of members that cannot change, so of a frozen object a copy is taken. */
function unfrozen<T extends object>(given: T): T {
  if (!Object.isFrozen(given)) return given;
  return Object.assign(Object.create(Object.getPrototypeOf(given) as object | null) as T, given);
}
