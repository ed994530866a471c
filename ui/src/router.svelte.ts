/** The URL is the state: which page, which thing, which filters. Links are plain; one listener takes their clicks. */

export interface Route {
  readonly page: string;
  readonly params: Readonly<Record<string, string>>;
}

interface Pattern {
  readonly page: string;
  readonly parts: readonly string[];
}

const PATTERNS: readonly Pattern[] = [
  ['now', '/'],
  ['runs', '/runs'],
  ['replay', '/runs/:run/replay'],
  ['run', '/runs/:run'],
  ['compare', '/compare'],
  ['agents', '/agents'],
  ['agent', '/agents/:agent'],
  ['threads', '/threads'],
  ['thread', '/threads/:thread'],
  ['workers', '/workers'],
  ['approvals', '/approvals'],
  ['usage', '/usage'],
  ['budgets', '/budgets'],
  ['alerts', '/alerts'],
  ['audit', '/audit'],
  ['settings', '/settings'],
  ['sign-in', '/sign-in'],
].map(([page, path]) => ({ page: page as string, parts: split(path as string) }));

/** The page at a path; `none` where there is no page. */
export function routeOf(path: string): Route {
  const given = split(path);
  for (const { page, parts } of PATTERNS) {
    const params = matched(parts, given);
    if (params) return { page, params };
  }
  return { page: 'none', params: {} };
}

function split(path: string): string[] {
  return path.split('/').filter((part) => part !== '');
}

function matched(parts: readonly string[], given: readonly string[]): Record<string, string> | null {
  if (parts.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [at, part] of parts.entries()) {
    const found = given[at] ?? '';
    if (part.startsWith(':')) params[part.slice(1)] = decoded(found);
    else if (part !== found) return null;
  }
  return params;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

class Router {
  #url = $state(new URL(location.href));

  route = $derived(routeOf(this.#url.pathname));
  query = $derived(this.#url.searchParams);

  constructor() {
    addEventListener('popstate', () => this.#read());
    document.addEventListener('click', (event) => this.#take(event));
  }

  /** Goes to a path of this server. `replace`: without a step back, for what is typed. */
  go(path: string, { replace = false } = {}): void {
    history[replace ? 'replaceState' : 'pushState'](null, '', path);
    this.#read();
    if (!replace) scrollTo(0, 0);
  }

  /** Sets members of the query; null or an empty text takes one away. */
  ask(changes: Readonly<Record<string, string | null>>, { replace = true } = {}): void {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value) url.searchParams.set(name, value);
      else url.searchParams.delete(name);
    }
    this.go(`${url.pathname}${url.search}`, { replace });
  }

  #read(): void {
    this.#url = new URL(location.href);
  }

  #take(event: MouseEvent): void {
    const isPlain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!isPlain || event.defaultPrevented || !link || link.target || link.hasAttribute('download')) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || routeOf(url.pathname).page === 'none') return;
    event.preventDefault();
    this.go(`${url.pathname}${url.search}${url.hash}`);
  }
}

export const router = new Router();
