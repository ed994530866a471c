/** How many events senders have numbered and nobody has: ranges, both ends included, and what they say they have dropped. */
export function missingOf(clients: readonly { readonly missing: readonly (readonly number[])[]; readonly dropped: number }[]): number {
  return clients.reduce((sum, { missing, dropped }) => missing.reduce((all, [first = 0, last = 0]) => all + last - first + 1, sum + dropped), 0);
}
