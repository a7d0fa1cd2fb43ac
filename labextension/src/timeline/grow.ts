/** Typed arrays that grow: amortised appends, no object for each number. */

type Numbers = Float64Array | Uint32Array | Uint8Array;

/** A column of numbers. `data` may be longer than `length`, and is another array after it has grown. */
export class Column<T extends Numbers> {
  length = 0;
  data: T;

  constructor(private readonly _make: (size: number) => T, size = 64) {
    this.data = _make(size);
  }

  push(value: number): number {
    if (this.length === this.data.length) {
      const larger = this._make(this.data.length * 2);
      larger.set(this.data);
      this.data = larger;
    }
    this.data[this.length] = value;
    return this.length++;
  }

  at(index: number): number {
    return this.data[index]!;
  }

  /** Put a value in its place, moving those behind it. */
  insert(index: number, value: number): void {
    this.push(value);
    if (index < this.length - 1) {
      this.data.copyWithin(index + 1, index, this.length - 1);
      this.data[index] = value;
    }
  }
}

export const floats = (size?: number) => new Column(n => new Float64Array(n), size);
export const words = (size?: number) => new Column(n => new Uint32Array(n), size);
export const bytes = (size?: number) => new Column(n => new Uint8Array(n), size);

/** Texts by number: each text once. Number 0 is the empty one. */
export class Texts {
  private readonly _list: string[] = [''];
  private readonly _numbers = new Map<string, number>([['', 0]]);

  number(text: string | null | undefined): number {
    const key = text ?? '';
    let found = this._numbers.get(key);
    if (found === undefined) {
      found = this._list.push(key) - 1;
      this._numbers.set(key, found);
    }
    return found;
  }

  /** The number of a text that is there already, else -1. */
  find(text: string): number {
    return this._numbers.get(text) ?? -1;
  }

  text(number: number): string {
    return this._list[number] ?? '';
  }

  get size(): number {
    return this._list.length;
  }
}

/** The first index in [0, length) whose value is greater than `value`; `length` where there is none. `at` must not fall. */
export function upper(length: number, at: (index: number) => number, value: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (at(middle) <= value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
