/**
 * The widget of a run or a lab in a notebook: who runs, waits and holds, buttons that ask for a stop, and for a run its timeline.
 * It is built into one file that anywidget loads in JupyterLab, VS Code and Colab alike. Every text is set as text, never as markup.
 */
import { Timeline } from '../timeline/timeline';
import { SpanTable, unpack } from '../timeline/spans';
import { stateWord } from '../timeline/states';
import { offered, plain } from '../timeline/words';

/** An agent, as the kernel words it: short, safe texts. */
interface IAgent {
  readonly key: string;
  readonly name: string;
  readonly kind: string;
  readonly icon: string;
  readonly status: string;
  readonly what: string;
  readonly holds: string;
  readonly usage: string;
  readonly time: string;
  readonly live: boolean;
}

interface IState {
  readonly title: string;
  readonly note: string;
  /** Of all agents: `agents` are those that there is room for, `more` says how many others there are. */
  readonly total: number;
  readonly ended: number;
  readonly waiting: number;
  readonly more: string;
  readonly agents: readonly IAgent[];
}

/** What goes on without a change of any row. Both as the kernel has them: its clock, not the browser's. */
interface IClock {
  /** ms since the epoch. */
  readonly now: number;
  /** How long agents have been going, by key. */
  readonly ages: Readonly<Record<string, string>>;
}

interface IPicture {
  /** ms since the epoch at which its time begins. */
  readonly origin: number;
  readonly lanes: readonly string[];
  readonly texts: readonly string[];
}

interface IModel {
  get(name: 'state'): IState;
  /** ms since the epoch: nothing is heard of the agents since; 0: all is as it is shown. */
  get(name: 'clock'): IClock | null;
  get(name: 'lost'): number;
  get(name: 'picture'): IPicture | null;
  get(name: 'spans'): DataView | null;
  on(name: string, call: () => void): void;
  off(name: string, call: () => void): void;
  send(message: { do: string; agent: string }): void;
}

const CSS = `
.agentlab-fleet { border: 1px solid var(--jp-border-color2, rgba(128,128,128,.4)); border-radius: 4px; max-width: 100%; box-sizing: border-box;
  color: var(--jp-ui-font-color1, var(--vscode-editor-foreground, inherit));
  font: var(--jp-ui-font-size1, 13px) var(--jp-ui-font-family, var(--vscode-font-family, system-ui, sans-serif)); }
.agentlab-fleet-head { display: flex; flex-wrap: wrap; gap: 2px 12px; align-items: center; padding: 6px 10px; }
.agentlab-fleet-head progress { width: 120px; height: 8px; accent-color: var(--jp-brand-color1, #1976d2); }
.agentlab-fleet-rows { max-height: 320px; overflow: auto; }
.agentlab-fleet table { border-collapse: collapse; width: 100%; font-size: inherit; margin: 0; }
.agentlab-fleet :is(th, td) { text-align: left; font-weight: normal; padding: 3px 10px; vertical-align: baseline; overflow-wrap: break-word;
  border-top: 1px solid var(--jp-border-color3, rgba(128,128,128,.25)); background: none; }
.agentlab-fleet thead th, .agentlab-fleet .agentlab-faint { color: var(--jp-ui-font-color2, var(--vscode-descriptionForeground, inherit)); font-size: 12px; }
.agentlab-fleet tbody th { font-weight: 600; }
.agentlab-fleet :is(th, td).agentlab-long { overflow-wrap: anywhere; min-width: 10ch; }
.agentlab-fleet td.agentlab-short { white-space: nowrap; }
.agentlab-fleet button.agentlab-stop { font: inherit; font-size: 12px; color: inherit; background: none; cursor: pointer; padding: 1px 8px; border-radius: 3px;
  border: 1px solid var(--jp-border-color1, rgba(128,128,128,.6)); white-space: nowrap; }
.agentlab-fleet button.agentlab-stop:disabled { opacity: .5; cursor: default; }
.agentlab-fleet.agentlab-lost :is(.agentlab-fleet-rows, .agentlab-timeline, progress) { opacity: .55; }
.agentlab-fleet-note { padding: 4px 10px 6px; border-top: 1px solid var(--jp-border-color3, rgba(128,128,128,.25)); }
.agentlab-fleet .agentlab-timeline { border-top: 1px solid var(--jp-border-color2, rgba(128,128,128,.4)); resize: vertical; overflow: hidden; }
`;

/** Signs that the fonts of browsers have, where the kernel's is one for terminals. */
const ICONS: Readonly<Record<string, string>> = { waiting: '◔' };

const QUIET = 15_000; // ms without a word of the kernel, which tells the time each second while agents live: it was restarted, or is gone

const LEAST = 120; // px of a timeline
const MOST = 420;

function part<K extends keyof HTMLElementTagNameMap>(parent: Element, tag: K, name = '', text = ''): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  node.className = name;
  node.textContent = text;
  parent.appendChild(node);
  return node;
}

/** The rows of agents: a row stays the same element as long as its agent is there, so that a focused button stays focused. */
class Fleet {
  /** The language of the page. What the kernel says of an agent is said as the kernel words it. */
  readonly trans = offered();
  private readonly _title: HTMLElement;
  private readonly _progress: HTMLProgressElement;
  private readonly _said: HTMLElement;
  private readonly _body: HTMLElement;
  private readonly _more: HTMLElement;
  private readonly _note: HTMLElement;
  private readonly _rows = new Map<string, { row: HTMLTableRowElement; cells: HTMLElement[]; stop: HTMLButtonElement; asked: string }>();

  constructor(
    box: HTMLElement,
    private readonly _stop: (agent: IAgent, now: boolean) => void
  ) {
    const head = part(box, 'div', 'agentlab-fleet-head');
    this._title = part(head, 'strong');
    this._progress = part(head, 'progress');
    this._said = part(head, 'span', 'agentlab-faint');
    this._said.setAttribute('aria-live', 'polite');
    const table = part(part(box, 'div', 'agentlab-fleet-rows'), 'table');
    const names = part(part(table, 'thead'), 'tr');
    const { trans } = this;
    const columns = [trans.__('agent'), trans.__('kind'), trans.__('status'), '', trans.__('holds'), trans.__('used'), trans.__('time'), ''];
    columns.forEach(column => part(names, 'th', '', column).setAttribute('scope', 'col'));
    this._body = part(table, 'tbody');
    this._more = part(box, 'div', 'agentlab-fleet-note agentlab-faint');
    this._note = part(box, 'div', 'agentlab-fleet-note agentlab-faint');
  }

  /** Where the timeline goes: above the note. */
  get end(): HTMLElement {
    return this._note;
  }

  /** `lost`: since when nothing is heard, ms; then what may be long over is pale, says of when it is, and offers nothing. `silent`: of the kernel. */
  show(state: IState, lost: number, silent = false): void {
    const { trans } = this;
    const { agents, ended, total, waiting } = state;
    this._title.textContent = state.title;
    this._progress.max = Math.max(total, 1);
    this._progress.value = ended;
    this._progress.setAttribute('aria-label', trans.__('agents that have ended'));
    this._progress.hidden = total === 0;
    const counts = waiting ? trans.__('%1 of %2 ended, %3 waiting', ended, total, waiting) : trans.__('%1 of %2 ended', ended, total);
    const when = new Date(lost).toLocaleTimeString();
    const words = silent
      ? trans.__('%1, as of %2: the kernel says nothing since; run the cell again when it does', counts, when)
      : lost
      ? trans.__('%1, as of %2: nothing is heard of them since; that is tried again by itself', counts, when)
      : counts;
    if (this._said.textContent !== words) {
      this._said.textContent = words; // screen readers say it again only when it is new
    }
    this._more.textContent = state.more;
    this._more.hidden = !state.more;
    this._note.textContent = lost ? '' : state.note;
    this._note.hidden = Boolean(lost);
    const there = new Set(agents.map(agent => agent.key));
    for (const [key, { row }] of this._rows) {
      if (!there.has(key)) {
        row.remove();
        this._rows.delete(key);
      }
    }
    agents.forEach((agent, place) => this._line(agent, place, !lost));
  }

  /** Only the ages: what else there is of a row has not changed. */
  age(ages: Readonly<Record<string, string>>): void {
    for (const [key, { cells }] of this._rows) {
      if (ages[key] !== undefined) {
        cells[6]!.textContent = ages[key];
      }
    }
  }

  private _line(agent: IAgent, place: number, able: boolean): void {
    const { trans } = this;
    const known = this._rows.get(agent.key) ?? this._make(agent.key);
    const { row, cells, stop } = known;
    const texts = [agent.name, agent.kind, `${ICONS[agent.status] ?? agent.icon} ${this._state(agent.status)}`, agent.what, agent.holds, agent.usage, agent.time];
    texts.forEach((text, i) => {
      if (cells[i]!.textContent !== text) {
        cells[i]!.textContent = text;
      }
    });
    const now = agent.status === 'stopping';
    stop.hidden = !agent.live || !able;
    stop.textContent = now ? trans.__('Stop now') : trans.__('Stop');
    stop.title = now ? trans.__('Kill it, without asking') : trans.__('Ask it to stop; its locks are freed');
    stop.setAttribute('aria-label', `${stop.textContent} ${agent.name}`);
    if (known.asked !== agent.status) {
      stop.disabled = false;
    }
    stop.onclick = () => {
      stop.disabled = true;
      known.asked = agent.status;
      this._stop(agent, now);
    };
    if (this._body.children[place] !== row) {
      this._body.insertBefore(row, this._body.children[place] ?? null);
    }
  }

  /** The kernel's word where nobody offers others: as in the picture that is saved with the cell. */
  private _state(status: string): string {
    const { trans } = this;
    return trans === plain ? status : (stateWord(trans, status) ?? status);
  }

  private _make(key: string) {
    const row = document.createElement('tr');
    const cells: HTMLElement[] = [part(row, 'th', 'agentlab-long')];
    cells[0]!.setAttribute('scope', 'row');
    for (let i = 1; i < 7; i++) {
      cells.push(part(row, 'td', i === 3 || i === 4 ? 'agentlab-long' : i === 2 ? 'agentlab-short' : 'agentlab-short agentlab-faint'));
    }
    const stop = part(part(row, 'td'), 'button', 'agentlab-stop');
    stop.type = 'button';
    const made = { row, cells, stop, asked: '' };
    this._rows.set(key, made);
    return made;
  }
}

/** The bytes of a trait, as a buffer that begins where they begin. */
function bufferOf(view: DataView): ArrayBuffer {
  return view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength) as ArrayBuffer;
}

/** One picture of a widget. */
interface IShown {
  readonly box: HTMLElement;
  readonly dispose: () => void;
  focused: HTMLElement | null;
}

/**
 * What anywidget calls for each widget. `render` is for each place where it is shown, and returns how to take it away. A front end
 * renders an output anew whenever the kernel brings its picture up to date: then what was shown moves there, as it was.
 */
export default function widget(): { render: (to: { model: IModel; el: HTMLElement }) => () => void } {
  const all = new Set<IShown>();
  return {
    render: ({ model, el }) => {
      const homeless = [...all].find(each => !each.box.isConnected);
      const mine = homeless ?? made(model);
      all.add(mine);
      el.appendChild(mine.box);
      if (homeless?.focused) {
        refocus(homeless.focused);
      }
      return () => {
        if (mine.box.parentElement === el) {
          all.delete(mine);
          mine.dispose();
        }
      };
    }
  };
}

/** Give back the focus that was lost when an element was taken off the page, as soon as it is on it, unless somebody took it on purpose. */
function refocus(lost: HTMLElement, frames = 60): void {
  if (!lost.isConnected) {
    if (frames > 0) {
      requestAnimationFrame(() => refocus(lost, frames - 1));
    }
  } else if ((document.activeElement ?? document.body).contains(lost)) {
    lost.focus({ preventScroll: true }); // the page has it, or what the output is in
  }
}

function made(model: IModel): IShown {
  const box = document.createElement('div');
  box.className = 'agentlab-fleet';
  part(box, 'style').textContent = CSS;
  box.setAttribute('role', 'group');
  const fleet = new Fleet(box, (agent, now) => model.send({ do: now ? 'stop now' : 'stop', agent: agent.key }));
  let timeline: Timeline | null = null;
  let heard = performance.now();
  let silent = false;
  const state = () => {
    const [shown, told] = [model.get('state'), model.get('lost')];
    const lost = told || (silent ? (model.get('clock')?.now ?? 0) : 0);
    box.setAttribute('aria-label', shown.title);
    box.classList.toggle('agentlab-lost', Boolean(lost));
    fleet.show(shown, lost, silent && !told);
    if (lost) {
      fleet.age(model.get('clock')?.ages ?? {}); // as of then, and not of the last change
    }
  };
  const listen = setInterval(() => {
    const quiet = performance.now() - heard > QUIET && Boolean(model.get('clock')) && model.get('state').agents.some(agent => agent.live);
    if (quiet !== silent) {
      silent = quiet;
      state();
    }
  }, 1000);
  const picture = () => {
    const [told, spans] = [model.get('picture'), model.get('spans')];
    if (!told || !spans?.byteLength) {
      return;
    }
    const table: SpanTable = unpack(bufferOf(spans), told.lanes, told.texts);
    if (timeline) {
      timeline.setTable(table);
    } else {
      timeline = new Timeline(table, { order: false, trans: offered(), now: () => (model.get('clock')?.now ?? 0) - (model.get('picture')?.origin ?? Infinity) });
      box.insertBefore(timeline.node, fleet.end);
      timeline.node.style.height = `${Math.min(Math.max(60 + 62 * told.lanes.length, LEAST), MOST)}px`;
    }
  };
  const clock = () => {
    fleet.age(model.get('clock')?.ages ?? {});
    timeline?.changed();
  };
  const hears = (call: () => void) => () => {
    heard = performance.now();
    if (silent) {
      silent = false;
      state();
    }
    call();
  };
  const changes = ([['change:state', state], ['change:lost', state], ['change:spans', picture], ['change:clock', clock]] as const).map(
    ([name, call]) => [name, hears(call)] as const
  );
  changes.forEach(([name, call]) => model.on(name, call));
  const mine: IShown = {
    box,
    focused: null,
    dispose: () => {
      changes.forEach(([name, call]) => model.off(name, call));
      clearInterval(listen);
      timeline?.dispose();
      box.remove();
    }
  };
  box.addEventListener('focusin', event => (mine.focused = event.target as HTMLElement));
  box.addEventListener('focusout', event => {
    if (event.relatedTarget) {
      mine.focused = null; // somebody went elsewhere; what is only taken off the page comes back
    }
  });
  state();
  picture();
  clock();
  return mine;
}
