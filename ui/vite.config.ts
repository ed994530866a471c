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
            groups: [{ name: 'shared', test: /src\/(parts|live|model|api)\/(?!Chart|Command|Keys)|node_modules\/(svelte|@tanstack)/, minShareCount: 2 }],
          },
        },
      },
    },
    server: { proxy: { '/api': ways, '/v1': ways } },
    test: { include: ['test/**/*.test.ts'] },
  };
});
