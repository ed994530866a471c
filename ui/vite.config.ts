import { svelte } from '@sveltejs/vite-plugin-svelte';
import { loadEnv, type Plugin } from 'vite';
import { defineConfig } from 'vitest/config';

/** What pages share, and neither the shell nor the list of runs needs. */
const CARDS = /src\/(parts\/(AlertActs|Answer|Confirm|Erase|EventList|Field|Id|Json|Over|Place|Risk|Tabs)\.|api\/(events|states)\.|live\/(acting|drafts|run-log|scrolls|standing)|model\/(answers|bars|calls|compare|diff|events|exchange|health|json|matters|messages|next|paths|replay|series|standing|timeline|tree)\.)/;

/** Class → the component whose styles it keeps to it. */
const classes = new Map<string, string>();

/** As usual, but with fewer letters of the hash: the whole of it does not compress, and would be a kilobyte in all. */
function cssHash({ filename, hash }: { filename: string; hash: (text: string) => string }): string {
  const path = filename.slice(Math.max(filename.lastIndexOf('src/'), 0));
  const name = `s${hash(path).slice(0, 4)}`;
  const other = classes.get(name) ?? path;
  if (other !== path) throw new Error(`${path} and ${other} have one class: take one letter more of their hashes`);
  classes.set(name, path);
  return name;
}

/** The part of Svelte that takes over what a server has drawn. No server draws here: all that only serves this is left out of the build. */
const HYDRATION = 'svelte/src/internal/client/dom/hydration.js';
const NEVER = `
export const hydrating = false;
export const hydrate_node = null;
${['set_hydrating', 'set_hydrate_node', 'hydrate_next', 'reset', 'hydrate_template', 'next', 'skip_nodes', 'read_hydration_instruction'].map((name) => `export function ${name}() {}`).join('\n')}
`;
/** What compiled components call for it, in vain. */
const IN_VAIN = ['$.reset', '$.next', '$.hydrate_template', '$.remove_input_defaults', '$.remove_textarea_child'];
const unhydrated: Plugin = {
  name: 'unhydrated',
  apply: 'build',
  load: (id) => (id.endsWith(HYDRATION) ? NEVER : null),
  generateBundle() {
    if (![...this.getModuleIds()].some((id) => id.endsWith(HYDRATION))) this.error(`Svelte has no ${HYDRATION} any more: see where hydration is now.`);
  },
};

/** For `scripts/finish.mjs`: in which file each page is. Pages that share one have no name of their own in the manifest. */
const pages: Plugin = {
  name: 'pages',
  generateBundle(_, bundle) {
    const files: Record<string, string> = {};
    for (const chunk of Object.values(bundle)) {
      for (const id of chunk.type === 'chunk' ? chunk.moduleIds : []) {
        const [, folder = '', name = ''] = /src\/pages\/([^/]+)\/(\w+)\.svelte$/.exec(id) ?? [];
        if (folder && folder.replace('-', '') === name.toLowerCase()) files[folder] = chunk.fileName;
      }
    }
    this.emitFile({ type: 'asset', fileName: '.vite/pages.json', source: JSON.stringify(files) });
  },
};

export default defineConfig(({ mode }) => {
  /** Where `npm run dev` finds a server, and the key that it is asked with. A build has neither. */
  const { TOWERLOG_URL: server = 'http://127.0.0.1:8700', TOWERLOG_API_KEY: key } = loadEnv(mode, '.', 'TOWERLOG_');
  const ways = { target: server, changeOrigin: true, ...(key ? { headers: { authorization: `Bearer ${key}` } } : {}) };
  return {
    plugins: [svelte({ compilerOptions: { cssHash } }), unhydrated, pages],
    build: {
      manifest: true,
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      cssCodeSplit: false,
      // What pages share is two files, what the shell and the list of runs need too, and the rest; and all styles are one:
      // they compress better than a file each, and are loaded once.
      rolldownOptions: {
        treeshake: { manualPureFunctions: IN_VAIN },
        output: {
          codeSplitting: {
            groups: [
              { name: 'cards', test: CARDS, minShareCount: 2, includeDependenciesRecursively: false },
              { name: 'shared', test: /src\/((parts|live|model|api)\/(?!Chart|Command|Keys)|router)|node_modules\/(svelte|@tanstack)/, minShareCount: 2 },
              // So do the tabs of a page, each of which is small, with their page.
              { name: 'settings', test: /src\/pages\/settings\//, includeDependenciesRecursively: false },
              { name: 'run', test: /src\/pages\/run\//, includeDependenciesRecursively: false },
              { name: 'inbox', test: /src\/pages\/(now|approvals)\//, includeDependenciesRecursively: false },
              // And pages that are a list and little else.
              { name: 'lists', test: /src\/pages\/(agents|audit|budgets|threads|workers)\//, includeDependenciesRecursively: false },
              // And those that tell what was said in runs.
              { name: 'talk', test: /src\/pages\/(compare|replay|thread)\//, includeDependenciesRecursively: false },
              { name: 'charts', test: /src\/(pages\/(agent|usage)\/|parts\/Chart)/, includeDependenciesRecursively: false },
              { name: 'rules', test: /src\/pages\/alerts\//, includeDependenciesRecursively: false },
            ],
          },
        },
      },
    },
    server: { proxy: { '/api': ways, '/v1': ways } },
    test: { include: ['test/**/*.test.ts'] },
  };
});
