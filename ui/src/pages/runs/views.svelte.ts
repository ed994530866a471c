/** Views that the reader has saved, in this browser: a name for a query. Each change begins with what is stored: another tab may have saved one meanwhile. */

interface View {
  readonly name: string;
  readonly query: string;
}

const KEY = 'towerlog.views';

class Views {
  list = $state.raw<readonly View[]>(stored());

  set(list: readonly View[]): void {
    this.list = list;
    localStorage.setItem(KEY, JSON.stringify(list));
  }

  forget(name: string): void {
    this.set(stored().filter((view) => view.name !== name));
  }
}

export const views = new Views();

/** Saves a query under a name; the name's old query is replaced. */
export function keep(name: string, query: string): void {
  views.set([...stored().filter((view) => view.name !== name), { name, query }]);
}

function stored(): View[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(found) ? found.filter(isView) : [];
  } catch {
    return [];
  }
}

function isView(given: unknown): given is View {
  const view = given as View | null;
  return typeof view === 'object' && view !== null && typeof view.name === 'string' && typeof view.query === 'string';
}
