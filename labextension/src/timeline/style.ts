/** The timeline brings its own style: the same in JupyterLab, VS Code and Colab. Colours are the page's. */
export const CSS = `
.agentlab-timeline { display: flex; flex-direction: column; min-height: 0; min-width: 0; position: relative;
  color: var(--jp-ui-font-color1, var(--vscode-editor-foreground, inherit));
  font: var(--jp-ui-font-size1, 13px) var(--jp-ui-font-family, var(--vscode-font-family, system-ui, sans-serif)); }
.agentlab-timeline-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 4px; padding: 2px 8px;
  border-bottom: 1px solid var(--jp-border-color2, rgba(128,128,128,.35)); }
.agentlab-timeline-bar button { font: inherit; font-size: 12px; color: inherit; background: none; min-width: 24px; height: 24px; padding: 0 7px;
  border: 1px solid transparent; border-radius: 3px; cursor: pointer; }
.agentlab-timeline-bar button:hover { background: var(--jp-layout-color2, rgba(128,128,128,.15)); }
.agentlab-timeline-bar button[aria-pressed='true'] { border-color: var(--jp-border-color1, rgba(128,128,128,.6)); }
.agentlab-timeline-bar button:focus-visible, .agentlab-timeline canvas:focus-visible { outline: none;
  box-shadow: inset 0 0 0 2px var(--jp-brand-color1, var(--vscode-focusBorder, #1976d2)); }
.agentlab-timeline-legend { display: flex; flex-wrap: wrap; gap: 0 12px; margin-left: auto; font-size: 11px;
  color: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, inherit)); }
.agentlab-timeline-legend span { display: inline-flex; align-items: center; gap: 5px; }
.agentlab-timeline-legend canvas { width: 14px; height: 10px; border-radius: 2px; }
.agentlab-timeline-view { flex: 1 1 auto; min-height: 60px; overflow-x: hidden; overflow-y: auto; position: relative; }
.agentlab-timeline-view > canvas { position: sticky; top: 0; display: block; touch-action: none; outline: none; }
.agentlab-timeline-tip { position: absolute; z-index: 10; pointer-events: none; max-width: 420px; padding: 5px 9px; font-size: 12px; line-height: 1.45;
  white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 3px; color: var(--jp-ui-font-color1, var(--vscode-editor-foreground, #222));
  background: var(--jp-layout-color1, var(--vscode-editor-background, #fff)); border: 1px solid var(--jp-border-color1, rgba(128,128,128,.6));
  box-shadow: 0 2px 8px rgba(0,0,0,.25); }
.agentlab-timeline-tip[hidden] { display: none; }
.agentlab-timeline-unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
