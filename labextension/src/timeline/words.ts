import { line } from './visible';
import { Fate, isKindLock, Kind, type SpanTable } from './spans';
import { durationText, timeText } from './viewport';

/** Translates a text that a person reads. */
export type Translate = (text: string, ...args: (string | number)[]) => string;

/** As it is written, with %1, %2 filled in. */
export const plain: Translate = (text, ...args) => text.replace(/%(\d)/g, (_, n: string) => String(args[Number(n) - 1] ?? ''));

/** What the kinds are called. */
export function kindNames(_: Translate): readonly string[] {
  return [
    _('tool call'), _('process'), _('model call'), _('waits for a lock'), _('holds a lock'), _('question'),
    _('message'), _('file changed'), _('problem'), _('start or end')
  ];
}

/** What a span says of itself: lines of a tooltip, and what a screen reader is told. */
export function spanLines(table: SpanTable, index: number, now: number, _: Translate): string[] {
  const kind = table.kind.at(index) as Kind;
  const short = (text: string) => line(text, 300);
  const label = short(table.texts.text(table.label.at(index)));
  const unit = short(table.texts.text(table.unit.at(index)));
  const open = table.isOpen(index);
  const start = table.start.at(index);
  const end = open ? now : table.end.at(index);
  const moment = kind >= Kind.Message;
  const head = `${line(table.lanes[table.lane.at(index)]!, 80)} · ${kindNames(_)[kind]}`;
  const lines = [isKindLock(kind) || !label ? head : `${head}: ${label}`];
  if (unit) {
    lines.push(isKindLock(kind) && label ? `${unit} (${label})` : unit);
  }
  const at = _('at %1, event %2', timeText(start, 1), table.seq.at(index));
  lines.push(moment ? at : `${durationText(end - start)}${open ? ` ${_('so far')}` : ''} · ${at}`);
  const fate = table.fate.at(index) as Fate;
  if (fate !== Fate.Fine) {
    lines.push(fate === Fate.Bad ? _('failed') : _('refused, given up or expired'));
  }
  return lines;
}
