import type { IEvent, Json } from '../timeline/events';

/**
 * Whether an event is one that somebody looks for: a part of its unit or of its text. What is inserted as code asks
 * the same of the log, in `agentlab/trace/matches.py`, which says what counts; `tests/console/filters.json` holds for both.
 */
export class Search {
  private readonly _unit: string;
  private readonly _text: string;

  constructor(unit: string, text: string) {
    this._unit = folded(unit);
    this._text = folded(text);
  }

  /** Whether everything matches. */
  get isEmpty(): boolean {
    return !this._unit && !this._text;
  }

  matches(event: IEvent): boolean {
    const { body } = event;
    const ofFile = body.type.startsWith('file.') || body.type === 'artifact';
    return (
      (!this._unit || holds([event.unit, body.units, ...(ofFile ? [body.path, body.to] : [])], this._unit, false)) &&
      (!this._text || holds([event.name, event.status, ...Object.values(body)], this._text, true))
    );
  }
}

/** However Unicode spells it, whatever its case. (The sigma that ends a word in lower case is another.) */
const folded = (text: string): string => text.normalize('NFC').toLowerCase().replace(/ς/g, 'σ');

/** Whether a text is in one of the values. `deep`: also in what lies in them, its keys, and whole numbers. */
function holds(values: readonly (Json | undefined)[], wanted: string, deep: boolean): boolean {
  const left = [...values];
  while (left.length) {
    const value = left.pop();
    if (typeof value === 'string') {
      if (folded(value).includes(wanted)) {
        return true;
      }
    } else if (Array.isArray(value)) {
      value.forEach(each => left.push(each as Json));
    } else if (deep && Number.isSafeInteger(value)) {
      if (String(value).includes(wanted)) {
        return true;
      }
    } else if (deep && value && typeof value === 'object') {
      Object.entries(value).forEach(([key, each]) => left.push(key, each as Json));
    }
  }
  return false;
}
