import { readFileSync } from 'node:fs';

import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { expect, test } from 'vitest';

import { translated } from '../src/schema';

const read = (): ISettingRegistry.ISchema => JSON.parse(readFileSync('schema/plugin.json', 'utf8')) as ISettingRegistry.ISchema;

/** Whatever a person reads in a schema. */
function words(value: unknown): string[] {
  return value && typeof value === 'object'
    ? Object.entries(value).flatMap(([name, each]) => (['title', 'description', 'label'].includes(name) && typeof each === 'string' ? [each] : words(each)))
    : [];
}

test('every word of the settings and menus is said in the language of JupyterLab, and nothing else is changed', () => {
  const schema = read();
  const said = translated(schema, { pgettext: (context, text) => `${context}: ${text}` });
  expect(words(said).map(text => text.replace(/^(schema|settings|menu): /, ''))).toEqual(words(schema));
  expect(words(said).every(text => /^(schema|settings|menu): /.test(text))).toBe(true);
  expect(words(said).length).toBeGreaterThan(12);
  expect(said['jupyter.lab.menus']!.main![0]!.label).toBe('menu: Agents');
  expect(schema).toEqual(read());
  expect(translated(schema, { pgettext: (_, text) => text })).toEqual(schema);
});
