/** Tells whoever listens, at most once for each turn of the page's clock. */
export class Emitter {
  private readonly _listeners = new Set<() => void>();
  private _due = false;

  constructor(private readonly _later: (call: () => void) => void = call => void setTimeout(call, 16)) {}

  listen(listener: () => void): () => void {
    this._listeners.add(listener);
    return () => void this._listeners.delete(listener);
  }

  emit(): void {
    if (!this._due) {
      this._due = true;
      this._later(() => {
        this._due = false;
        [...this._listeners].forEach(listener => listener());
      });
    }
  }
}
