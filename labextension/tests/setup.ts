/** What jsdom lacks and JupyterLab's packages look for when they are loaded. */
import { cleanup, configure } from '@testing-library/react';
import { afterEach } from 'vitest';

class NoDrag extends Event {
  dataTransfer = null;
}

class NoObserver {
  observe(): void {}
  unobserve(): void {}
  disconnect(): void {}
}

const missing: Record<string, unknown> = {
  DragEvent: NoDrag,
  ResizeObserver: NoObserver,
  IntersectionObserver: NoObserver,
  requestIdleCallback: (work: () => void) => setTimeout(work),
  cancelIdleCallback: clearTimeout
};
for (const [name, value] of Object.entries(missing)) {
  if (!(name in globalThis)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}
window.matchMedia ??= () =>
  ({ matches: false, addEventListener() {}, removeEventListener() {}, addListener() {}, removeListener() {} }) as unknown as MediaQueryList;

configure({ asyncUtilTimeout: 30_000 }); // other tests may want the machine too

afterEach(cleanup);
