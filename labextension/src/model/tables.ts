import type { IDelta, Row, Rows, Tables } from './wire';

/** Whether something from the wire is a delta, so that whatever else comes is left alone. */
export function isDelta(value: unknown): value is IDelta {
  const delta = value as Partial<IDelta> | null;
  return typeof delta === 'object' && delta !== null && typeof delta.seq === 'number' && isRecord(delta.tables);
}

/**
 * Tables under change. `apply` folds deltas in; `publish` gives an immutable picture, in which a table that has not changed is the
 * object that it was, and so is a row. A table is copied at most once between two pictures, however many deltas come.
 */
export class TableDraft {
  private _published: Map<string, Map<string, Row>> = new Map();
  private _fresh = new Set<string>(); // tables that are copies already
  private _dirty = false;
  seq = 0;

  /** False: this cannot follow what is here (it is older), so a snapshot is needed. */
  apply(delta: IDelta): boolean {
    if (delta.full) {
      this._replace(delta);
      return true;
    }
    if (delta.seq < this.seq) {
      return false;
    }
    for (const [table, rows] of Object.entries(delta.tables)) {
      if (isRecord(rows)) {
        this._merge(table, rows);
      }
    }
    this.seq = delta.seq;
    return true;
  }

  publish(): Tables {
    this._fresh.clear();
    this._dirty = false;
    return this._published as ReadonlyMap<string, Rows>;
  }

  private _replace(delta: IDelta): void {
    const tables = new Map<string, Map<string, Row>>();
    for (const [table, rows] of Object.entries(delta.tables)) {
      const known = new Map<string, Row>();
      for (const [key, row] of Object.entries(isRecord(rows) ? rows : {})) {
        if (isRecord(row)) {
          known.set(key, row);
        }
      }
      tables.set(table, known);
    }
    this._published = tables;
    this._fresh = new Set(tables.keys());
    this._dirty = true;
    this.seq = delta.seq;
  }

  private _merge(table: string, rows: { readonly [key: string]: Row | null }): void {
    let known = this._published.get(table);
    if (!known || !this._fresh.has(table)) {
      known = new Map(known);
      if (!this._dirty) {
        this._published = new Map(this._published);
        this._dirty = true;
      }
      this._published.set(table, known);
      this._fresh.add(table);
    }
    for (const [key, row] of Object.entries(rows)) {
      if (isRecord(row)) {
        known.set(key, row);
      } else {
        known.delete(key);
      }
    }
  }
}

function isRecord(value: unknown): value is Record<string, never> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
