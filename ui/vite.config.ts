import { svelte } from '@sveltejs/vite-plugin-svelte';
import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

export default defineConfig(({ mode }) => {
  /** Where `npm run dev` finds a server, and the key that it is asked with. A build has neither. */
  const { TOWERLOG_URL: server = 'http://127.0.0.1:8700', TOWERLOG_API_KEY: key } = loadEnv(mode, '.', 'TOWERLOG_');
  const ways = { target: server, changeOrigin: true, ...(key ? { headers: { authorization: `Bearer ${key}` } } : {}) };
  return {
    plugins: [svelte()],
    build: {
      manifest: true,
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      cssCodeSplit: false,
      // What pages share is one file, and all styles are: they compress better than a file each, and are loaded once.
      rolldownOptions: {
        output: {
          codeSplitting: {
            groups: [
              { name: 'shared', test: /src\/((parts|live|model|api)\/(?!Chart|Command|Keys)|router)|node_modules\/(svelte|@tanstack)/, minShareCount: 2 },
              // So do the tabs of a page, each of which is small.
              { name: 'settings', test: /src\/pages\/settings\/(?!Settings\.)/, includeDependenciesRecursively: false },
              { name: 'tabs', test: /src\/pages\/run\/(Conversation|Tools|Checkpoints|Children|Leases|Raw)\./, includeDependenciesRecursively: false },
              { name: 'rules', test: /src\/pages\/alerts\/(DeliveryView|RuleView|RuleForm|Tried)\./, includeDependenciesRecursively: false },
            ],
          },
        },
      },
    },
    server: { proxy: { '/api': ways, '/v1': ways } },
    test: { include: ['test/**/*.test.ts'] },
  };
});
