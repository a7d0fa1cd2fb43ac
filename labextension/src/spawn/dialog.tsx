import { Dialog } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import React from 'react';

import { Actions } from '../model/actions';
import { rowsOf } from '../model/model';
import { problemIn } from '../model/problems';
import type { IProblem } from '../model/wire';
import { kinds } from '../rows/runtimes';
import type { IAgentlab } from '../tokens';
import { EMPTY, missing, ofKind, spawnOf, type IDraft } from './draft';
import { SpawnForm } from './form';

/** What the dialog needs. `cwd`: the folder that is looked at, relative to the root of the server. */
export interface ISpawnOptions {
  agentlab: IAgentlab;
  trans: TranslationBundle;
  cwd?: string;
}

/** The agent that was spawned. */
export type Spawned = { agent: string; run_id: string };

const KINDS = ['script', 'python', 'claude']; // where no runtime tells its own

/** What was written before the dialog was put away, so that nobody writes a task twice. */
let kept: Partial<IDraft> = {};

/** Ask for an agent and spawn it; null: it was put away. The dialog stays until it worked, and says what did not. */
export async function spawnDialog(options: ISpawnOptions): Promise<Spawned | null> {
  const body = new SpawnBody(options);
  const { trans } = options;
  const dialog = new SpawnDialog(body, {
    title: trans.__('Spawn an agent'),
    body,
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: trans.__('Spawn') })],
    focusNodeSelector: 'textarea'
  });
  await dialog.launch();
  kept = body.spawned ? {} : body.draft;
  return body.spawned;
}

/** A dialog whose good end waits for the plane. */
class SpawnDialog extends Dialog<null> {
  constructor(
    private readonly _form: SpawnBody,
    options: Partial<Dialog.IOptions<null>>
  ) {
    super(options);
    this.addClass('jp-agentlab-dialog');
  }

  resolve(index?: number): void {
    if (index === 0) {
      super.resolve(0);
    } else {
      void this._form.submit().then(done => done && super.resolve(1));
    }
  }
}

/** The form with what is written in it. */
export class SpawnBody extends ReactWidget {
  draft: IDraft;
  spawned: Spawned | null = null;
  private _problem: IProblem | null = null;
  private _busy = false;

  constructor(private readonly _options: ISpawnOptions) {
    super();
    const found = this._kinds();
    const usable = found.find(one => one.ok && one.kind === 'claude') ?? found.find(one => one.ok) ?? found[0];
    this.draft = { ...ofKind(EMPTY, usable?.kind ?? ''), workdir: folder(_options.cwd ?? ''), ...kept };
  }

  /** True: the agent is spawned. */
  async submit(): Promise<boolean> {
    if (this._busy) {
      return false;
    }
    const message = missing(this.draft, this._options.trans);
    this._problem = message ? { code: 'Incomplete', message, next: '' } : null;
    if (!message) {
      this._busy = true;
      this.update();
      try {
        this.spawned = await new Actions(this._options.agentlab.gateway).spawn(spawnOf(this.draft));
      } catch (error) {
        this._problem = problemIn(error);
      }
      this._busy = false;
    }
    this.update();
    return this.spawned !== null;
  }

  protected render(): JSX.Element {
    const { agentlab, trans } = this._options;
    const runs = [...rowsOf(agentlab.model.view, 'runs').values()].filter(run => run.status === 'open' && run.run_id !== 'plane');
    return (
      <SpawnForm
        draft={this.draft}
        change={draft => {
          this.draft = draft;
          this.update();
        }}
        kinds={this._kinds()}
        runs={runs.map(run => ({ name: run.name, root: run.root ?? '' }))}
        problem={this._problem}
        busy={this._busy}
        trans={trans}
      />
    );
  }

  private _kinds(): ReturnType<typeof kinds> {
    const found = kinds(this._options.agentlab.model.view.tables);
    return found.length ? found : KINDS.map(kind => ({ kind, note: '', ok: true }));
  }
}

/** The absolute path of a folder of the server. */
function folder(cwd: string): string {
  const root = PageConfig.getOption('serverRoot').replace(/\/$/, '');
  const path = cwd.replace(/^[A-Za-z]+:/, '').replace(/^\/+|\/+$/g, '');
  return path ? `${root}/${path}` : root;
}
