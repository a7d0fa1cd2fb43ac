import { readFileSync } from 'node:fs';

import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [
    {
      // JupyterLab's packages import their icons as text, as its builder does
      name: 'svg-as-text',
      enforce: 'pre',
      load(id: string) {
        const path = id.split('?')[0]!;
        return path.endsWith('.svg') ? `export default ${JSON.stringify(readFileSync(path, 'utf8'))};` : null;
      }
    }
  ],
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.{ts,tsx}'],
    setupFiles: ['tests/setup.ts'],
    css: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    poolOptions: { forks: { maxForks: 2, minForks: 1 } },
    server: { deps: { inline: [/@jupyterlab\//, /@lumino\//, /@jupyter\//, /@rjsf\//] } }
  }
});
