/** Where to go after signing in. `asgi/pages/sign_in/next_path.py` has the same rule for who comes from a provider. */

const MAX_NEXT_CHARS = 500;

/** The address of the path in `next`, when it is one of this server (`origin`) and not of the sign-in page; else of the first page. */
export function nextOf(next: string | null, origin: string): string {
  const first = new URL('/', origin).href;
  // URL drops tabs and ends of lines, so that `/<tab>/host` is another host: what it makes of the text is what counts.
  if (next === null || !next.startsWith('/') || next.length > MAX_NEXT_CHARS || /[\x00-\x1f\x7f]/.test(next)) return first;
  const found = URL.parse(next, origin);
  return found !== null && found.origin === new URL(origin).origin && !found.pathname.startsWith('/sign-in') ? found.href : first;
}
