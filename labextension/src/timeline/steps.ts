import { spanAt, type Row } from './layout';
import type { Sight } from './sight';

/** From span to span, as arrow keys go. Each gives the span to choose; -1: there is none. */

/** The first or the last span of the row that is gone along. */
export function edge(sight: Sight, first: boolean): number {
  const row = (sight.layout.rowOf(sight.selected) ?? rows(sight)[0])?.spans;
  return row?.length ? row.at(first ? 0 : row.length - 1) : -1;
}

/** The next span of the row, or the one before. */
export function along(sight: Sight, by: 1 | -1): number {
  const row = sight.layout.rowOf(sight.selected);
  if (!row) {
    return edge(sight, by > 0);
  }
  for (let place = 0; place < row.spans.length; place++) {
    if (row.spans.at(place) === sight.selected) {
      const next = place + by;
      return next >= 0 && next < row.spans.length ? row.spans.at(next) : -1;
    }
  }
  return -1;
}

/** The nearest span of the next row, or of the one before. */
export function across(sight: Sight, by: 1 | -1): number {
  const all = rows(sight);
  const row = sight.layout.rowOf(sight.selected);
  const next = row ? all[all.indexOf(row) + by] : all[0];
  if (!next?.spans.length) {
    return -1;
  }
  const nearest = spanAt(sight.axis, next, row ? sight.axis.start(sight.selected) : sight.view.from, Infinity);
  return nearest >= 0 ? nearest : next.spans.at(0);
}

const rows = (sight: Sight): Row[] => sight.layout.lanes.flatMap(lane => lane.rows);
