import { line } from './visible';
import { Fate, isKindLock, Kind, type SpanTable } from './spans';
import { durationText, timeText } from './viewport';

/** Translates a text that a person reads: as much of JupyterLab's `TranslationBundle` as is needed here. */
export interface ITrans {
  __(text: string, ...args: (string | number)[]): string;
}

/** As it is written, with %1, %2 filled in. */
export const plain: ITrans = { __: (text, ...args) => text.replace(/%(\d)/g, (_, n: string) => String(args[Number(n) - 1] ?? '')) };

/** Where the extension of JupyterLab leaves the words of the page for widgets: these are loaded by the cells, apart from it. */
const PLACE = Symbol.for('agentlab:trans');

/** From now on the widgets of this page speak so. */
export function offer(trans: ITrans): void {
  (globalThis as { [PLACE]?: ITrans })[PLACE] = trans;
}

/** The words of the page, in JupyterLab those of its language; as they are written where nobody has offered any: VS Code, Colab. */
export function offered(): ITrans {
  return (globalThis as { [PLACE]?: ITrans })[PLACE] ?? plain;
}

/** What the kinds are called. */
export function kindNames(trans: ITrans): readonly string[] {
  return [
    trans.__('tool call'), trans.__('process'), trans.__('model call'), trans.__('waits for a lock'), trans.__('holds a lock'), trans.__('question'),
    trans.__('message'), trans.__('file changed'), trans.__('problem'), trans.__('start or end')
  ];
}

/** What a span says of itself: lines of a tooltip, and what a screen reader is told. */
export function spanLines(table: SpanTable, index: number, now: number, trans: ITrans): string[] {
  const kind = table.kind.at(index) as Kind;
  const short = (text: string) => line(text, 300);
  const label = short(table.texts.text(table.label.at(index)));
  const unit = short(table.texts.text(table.unit.at(index)));
  const open = table.isOpen(index);
  const start = table.start.at(index);
  const end = open ? now : table.end.at(index);
  const moment = kind >= Kind.Message;
  const head = `${line(table.lanes[table.lane.at(index)]!, 80)} · ${kindNames(trans)[kind]}`;
  const lines = [isKindLock(kind) || !label ? head : `${head}: ${label}`];
  if (unit) {
    lines.push(isKindLock(kind) && label ? `${unit} (${label})` : unit);
  }
  const at = trans.__('at %1, event %2', timeText(start, 1), table.seq.at(index));
  lines.push(moment ? at : `${durationText(end - start)}${open ? ` ${trans.__('so far')}` : ''} · ${at}`);
  const fate = table.fate.at(index) as Fate;
  if (fate !== Fate.Fine) {
    lines.push(fate === Fate.Bad ? trans.__('failed') : trans.__('refused, given up or expired'));
  }
  return lines;
}
