/** Where to go after signing in. */

/** The path in `next`, when it is one of this server; else the first page. */
export function nextOf(next: string | null): string {
  return next !== null && /^\/(?![/\\])/.test(next) && !next.startsWith('/sign-in') ? next : '/';
}
