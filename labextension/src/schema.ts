import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import type { TranslationBundle } from '@jupyterlab/translation';
import { JSONExt, type PartialJSONObject } from '@lumino/coreutils';

type Translator = Pick<TranslationBundle, 'pgettext'>;

/**
 * A copy of `schema/plugin.json` whose words (settings, menus) are in the language of JupyterLab, found in the contexts under which its
 * tools extract them. Its server translates them only where it is asked for one schema by name: of all, as a page asks for them when it
 * loads, those of extensions come as they are written (`jupyterlab_server.settings_utils._list_settings`).
 */
export function translated(schema: ISettingRegistry.ISchema, trans: Translator): ISettingRegistry.ISchema {
  const copy = JSONExt.deepCopy(schema) as ISettingRegistry.ISchema;
  say(copy, ['title', 'description'], 'schema', trans);
  Object.values(copy.properties ?? {}).forEach(each => say(each, ['title', 'description'], 'settings', trans));
  copy['jupyter.lab.menus']?.main?.forEach(menu => say(menu, ['label'], 'menu', trans));
  return copy;
}

function say(of: PartialJSONObject, names: readonly string[], context: string, trans: Translator): void {
  for (const name of names) {
    const text = of[name];
    if (typeof text === 'string') {
      of[name] = trans.pgettext(context, text);
    }
  }
}
