import { nullTranslator, type ITranslator, type TranslationBundle } from '@jupyterlab/translation';

/** The domain of the words of agentlab in a language pack. */
export const DOMAIN = 'agentlab';

/** The words in the language of JupyterLab; as they are written where there is no translator. */
export function bundleOf(translator: ITranslator | null): TranslationBundle {
  return (translator ?? nullTranslator).load(DOMAIN);
}

/** For what is said where no view hands over words: what is wrong with a connection, where a text was cut. The page sets it as it starts. */
export const words = { trans: bundleOf(null) };
