import { MergeView } from '@codemirror/merge';
import { EditorState } from '@codemirror/state';
import { EditorView, highlightSpecialChars, lineNumbers } from '@codemirror/view';
import type { TranslationBundle } from '@jupyterlab/translation';

/** Two texts beside each other, equal parts folded. Returns how to take it away. Loaded when it is first needed. */
export function sideBySide(host: HTMLElement, before: string, after: string, trans: TranslationBundle): () => void {
  const side = (name: string) => [
    lineNumbers(),
    highlightSpecialChars({ addSpecialChars: /[\u202a-\u202e\u2066-\u2069\u{e0000}-\u{e007f}]/u }),
    EditorState.readOnly.of(true),
    EditorView.editable.of(false),
    EditorView.lineWrapping,
    EditorView.contentAttributes.of({ 'aria-label': name, tabindex: '0' }),
    THEME
  ];
  const view = new MergeView({
    a: { doc: before, extensions: side(trans.__('before')) },
    b: { doc: after, extensions: side(trans.__('after')) },
    parent: host,
    gutter: true,
    highlightChanges: true,
    collapseUnchanged: { margin: 3, minSize: 6 },
    diffConfig: { scanLimit: 2000, timeout: 500 }
  });
  return () => view.destroy();
}

const THEME = EditorView.theme({
  '&': { backgroundColor: 'var(--jp-layout-color1)', color: 'var(--jp-ui-font-color1)', fontSize: 'var(--jp-code-font-size)' },
  '.cm-scroller': { fontFamily: 'var(--jp-code-font-family)', lineHeight: '1.4' },
  '.cm-gutters': { backgroundColor: 'var(--jp-layout-color2)', color: 'var(--jp-ui-font-color2)', border: 'none' },
  '.cm-changeGutter': { width: '3px', paddingLeft: '0' },
  '.cm-collapsedLines': {
    background: 'var(--jp-layout-color2)', color: 'var(--jp-ui-font-color2)', fontFamily: 'var(--jp-ui-font-family)', fontSize: '12px', padding: '3px 8px'
  },
  '.cm-specialChar': { color: 'var(--jp-error-color1)' },
  '&.cm-focused': { outline: '1px solid var(--jp-brand-color1)', outlineOffset: '-1px' }
});
