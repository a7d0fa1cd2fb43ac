import { Kind } from './spans';

/** What the picture is painted with: read from the page, so that it follows the theme. */
export interface ITheme {
  readonly dark: boolean;
  readonly background: string;
  readonly line: string;
  readonly text: string;
  readonly faint: string;
  readonly accent: string;
  readonly bad: string;
  readonly shade: string;
  readonly font: string;
  readonly kinds: readonly string[];
  /** By Kind: what can be read on its colour. */
  readonly onKinds: readonly string[];
}

// By Kind; the ones for a light page are those of the Altair charts, so that one picture reads like the other.
const LIGHT = ['#4c78a8', '#3f9c94', '#b279a2', '#e45756', '#f2cf5b', '#ff9da6', '#6b6ecf', '#54a24b', '#d62728', '#7f7f7f'];
const DARK = ['#6fa3d8', '#5cc0b7', '#c893bb', '#f2706e', '#d9b640', '#ff9da6', '#9a9df0', '#74c476', '#ff6b6b', '#a0a0a0'];

const NAMES: Readonly<Record<Kind, string>> = {
  [Kind.Tool]: 'tool',
  [Kind.Process]: 'process',
  [Kind.Model]: 'model',
  [Kind.Wait]: 'wait',
  [Kind.Hold]: 'hold',
  [Kind.Approval]: 'approval',
  [Kind.Message]: 'message',
  [Kind.File]: 'file',
  [Kind.Problem]: 'problem',
  [Kind.Mark]: 'mark'
};

/** The colours of the page that `node` is in: JupyterLab's, VS Code's, or what is computed. */
export function readTheme(node: Element): ITheme {
  const style = getComputedStyle(node);
  const first = (...names: string[]): string => {
    for (const name of names) {
      const value = style.getPropertyValue(name).trim();
      if (value) {
        return value;
      }
    }
    return '';
  };
  const background = first('--jp-layout-color1', '--vscode-editor-background') || backgroundOf(node);
  const dark = luminance(background) < 0.4;
  const palette = dark ? DARK : LIGHT;
  const kinds = palette.map((color, kind) => first(`--agentlab-${NAMES[kind as Kind]}`) || color);
  return {
    dark,
    background,
    line: first('--jp-border-color2', '--vscode-panel-border') || (dark ? '#444' : '#ddd'),
    text: first('--jp-ui-font-color1', '--vscode-editor-foreground') || (dark ? '#ddd' : '#222'),
    faint: first('--jp-ui-font-color2', '--vscode-descriptionForeground') || (dark ? '#aaa' : '#666'),
    accent: first('--jp-brand-color1', '--vscode-focusBorder') || '#1976d2',
    bad: first('--jp-error-color1', '--vscode-errorForeground') || '#d32f2f',
    shade: dark ? 'rgba(0,0,0,0.45)' : 'rgba(255,255,255,0.62)',
    font: first('--jp-ui-font-family', '--vscode-font-family') || 'system-ui, sans-serif',
    kinds,
    onKinds: kinds.map(color => (luminance(color) < 0.5 ? '#ffffff' : '#161616'))
  };
}

function backgroundOf(node: Element | null): string {
  for (let at = node; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (color && color !== 'transparent' && !/^rgba\(.*,\s*0\)$/.test(color)) {
      return color;
    }
  }
  return '#ffffff';
}

/** How light a colour is, 0 to 1; hex and rgb() are understood, anything else counts as light. */
export function luminance(color: string): number {
  let parts: number[] = [];
  const hex = /^#([0-9a-f]{3,8})$/i.exec(color.trim())?.[1];
  if (hex) {
    const wide = hex.length < 6 ? [...hex].map(c => c + c).join('') : hex;
    parts = [0, 2, 4].map(i => parseInt(wide.slice(i, i + 2), 16));
  } else {
    parts = (color.match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);
  }
  const [r, g, b] = parts;
  return r === undefined || g === undefined || b === undefined ? 1 : (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}
