/** The one way down: pages → parts → live | api → model. Checked by `npm run check`. */

const above = {
  model: ['api', 'live', 'parts', 'pages'],
  api: ['live', 'parts', 'pages'],
  live: ['parts', 'pages'],
  parts: ['pages'],
};

module.exports = {
  forbidden: [
    ...Object.entries(above).map(([room, rooms]) => ({
      name: `${room}-imports-down`,
      severity: 'error',
      from: { path: `^src/${room}/` },
      to: { path: `^src/(${rooms.join('|')}|app|main)` },
    })),
    {
      name: 'pages-know-no-other-page',
      severity: 'error',
      from: { path: '^src/pages/([^/]+)/' },
      to: { path: '^src/pages/', pathNot: '^src/pages/$1/' },
    },
    // A tree of JSON is made of itself.
    { name: 'no-circles', severity: 'error', from: { pathNot: '^src/parts/Json.svelte$' }, to: { circular: true } },
    { name: 'nothing-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true, pathNot: '^svelte/internal' } },
    { name: 'model-has-no-dom', severity: 'error', from: { path: '^src/model/' }, to: { pathNot: '^(src/model/|svelte/internal)' } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.svelte', '.svelte.ts', '.d.ts', '.js'] },
    exclude: { path: 'schema' },
  },
};
