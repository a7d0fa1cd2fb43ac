import type { IGateway, IModel } from '../tokens';
import { problemIn } from '../model/problems';
import type { IProblem, Row, Tables } from '../model/wire';
import { text, type IEvent } from '../timeline/events';
import { upper } from '../timeline/grow';
import { spanOf } from '../timeline/spans';
import { Emitter } from './emitter';
import { Filtered, NO_FILTER, type IFilter } from './filter';
import { Loader, type Stage } from './loader';
import { EventLog, type IProcess } from './log';
import { Moments, rowsOfRun, type IMoment } from './moments';
import { Player, step, type Stride } from './player';

/** The parts of the console below the timeline. */
export const PANES = ['events', 'diffs', 'output', 'messages', 'plan', 'tasks', 'artifacts', 'state'] as const;
export type Pane = (typeof PANES)[number];

/** What the store needs of the outside. */
export interface IStoreOptions {
  readonly gateway: IGateway;
  readonly model?: IModel | null;
}

/** ms of the page that a search may take before others have their turn. */
const SLICE = 8;

/** Everything that one console shows: a run, a moment in it, and what is chosen. Views are functions of it. */
export class RunStore {
  readonly log = new EventLog();
  readonly changed = new Emitter();
  readonly player: Player;
  stage: Stage = { name: 'loading', total: null };
  /** The seq that is looked at; null: the end, and with it whatever comes. */
  cursor: number | null = null;
  /** The seq of the chosen event: one for all views. */
  selected: number | null = null;
  /** What is to be brought into sight on the timeline: another object each time somebody asks. */
  revealed: { readonly seq: number } | null = null;
  pane: Pane = 'events';
  stride: Stride = 'event';
  filtered: Filtered;
  /** The process whose output is shown, and the change of a file: the last ones that were chosen. */
  process: IProcess | null = null;
  change: number | null = null;
  momentProblem: IProblem | null = null;
  private _moment: IMoment | null = null;
  private _elapsed = 0; // ms: the latest that was now
  private _lastLive: (IMoment & { readonly of: Tables }) | null = null;
  private _believed = true; // whether the rows of the model came as they happened
  private readonly _moments: Moments;
  private readonly _loader: Loader;
  private readonly _unlisten: () => void;
  private _searching: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly run: string,
    private readonly _options: IStoreOptions
  ) {
    const { gateway, model } = _options;
    this.filtered = new Filtered(this.log, NO_FILTER);
    this.player = new Player(this.log, () => this.cursor, seq => this.setCursor(seq, true));
    this._loader = new Loader(gateway, run, this.log, { grew: () => this._grew(), stage: stage => this._setStage(stage) });
    this._moments = new Moments(
      (seq, signal) => gateway.request('GET', `api/runs/${encodeURIComponent(run)}/state?seq=${seq}`, undefined, signal),
      moment => {
        this._moment = moment;
        this.momentProblem = null;
        this.changed.emit();
      },
      error => {
        this.momentProblem = problemIn(error);
        this._loader.doubt(); // the run itself may be gone
        this.changed.emit();
      }
    );
    const heard = () => this._heard();
    model?.changed.connect(heard);
    this._unlisten = () => void model?.changed.disconnect(heard);
  }

  start(): void {
    this._loader.start();
  }

  /** Try again what failed. */
  retry(): void {
    this.stage = { name: 'loading', total: null };
    this._loader.again();
    this.changed.emit();
  }

  dispose(): void {
    this.player.pause();
    this._moments.cancel();
    this._loader.dispose();
    this._unlisten();
    clearTimeout(this._searching);
  }

  // --- the moment --------------------------------------------------------------------------------------------

  /** What the run is called, as its log says; '' before its first event is here. */
  get name(): string {
    const body = this.log.events[0]?.body;
    return body?.type === 'run.start' ? text(body, 'name') : '';
  }

  /** How many events had happened at the cursor. */
  get count(): number {
    return this.log.count(this.cursor);
  }

  /** The seq at the cursor, as a number. */
  get at(): number {
    return this.cursor ?? this.log.lastSeq;
  }

  /** Put the cursor at an event; null: at the end. */
  setCursor(seq: number | null, playing = false): void {
    if (!playing) {
      this.player.pause();
    }
    const last = this.log.lastSeq;
    const next = seq === null || (seq >= last && this.stage.name !== 'loading') ? null : Math.max(seq, this.log.length ? this.log.seq.at(0) : 0);
    if (next !== this.cursor) {
      this.cursor = next;
      this._wantMoment();
    }
    this.changed.emit();
  }

  step(by: 1 | -1, stride: Stride = this.stride): void {
    const to = step(this.log, this.cursor, by, stride);
    this.setCursor(to);
    const event = to === null ? undefined : this.log.event(to);
    if (event) {
      this.select(event.seq, false);
    }
  }

  togglePlay(): void {
    if (this.player.playing) {
      this.player.pause();
    } else {
      this.player.play();
    }
    this.changed.emit();
  }

  /** Whether what is shown at the end is so now: it comes as it happens, or nothing comes any more. */
  get isCurrent(): boolean {
    return !['loading', 'lost', 'gone', 'failed'].includes(this.stage.name);
  }

  /**
   * How far it has come, ms since it began: its last event, and while agents of it are followed as they go on, now: who waits or works
   * does so without an event. Where that is not so any more, as far as it was.
   */
  get elapsed(): number {
    const { log } = this;
    const last = log.length ? log.reached.at(log.length - 1) : 0;
    if (this.stage.name === 'ended') {
      return last;
    }
    const { model } = this._options;
    const live = this.cursor === null && this._believes && (model?.view.tables.get('runs')?.get(this.run)?.live ?? 0);
    if (model && live && log.length) {
      this._elapsed = Math.max(this._elapsed, log.teller.time(model.now()));
    }
    return Math.max(last, this._elapsed);
  }

  /** Whether all that there was has come at least once: before that, sums are those of a part. */
  complete = false;

  /** The rows at the cursor. `seq` says of which event they are: it may be behind for a moment. null: not here yet. */
  get moment(): IMoment | null {
    const moment = this._moment;
    if (this.cursor !== null) {
      return moment;
    }
    return this._liveRows() ?? (moment?.seq === this.log.lastSeq ? moment : (this._lastLive ?? (this.isCurrent ? moment : null)));
  }

  /** Whether the rows are those of the cursor. What has happened stays so; of the end only what still comes tells. */
  get momentIsCurrent(): boolean {
    if (this.cursor === null && this.stage.name !== 'ended' && !this.isCurrent) {
      return false;
    }
    const { moment } = this;
    return moment !== null && (moment === this._lastLive && this.cursor === null ? this._believes : moment.seq === this.at);
  }

  /** The rows of the model as of now, while the run goes on and the model knows it. They are kept when either ends. */
  private _liveRows(): IMoment | null {
    const { model } = this._options;
    const tables = model?.view.tables;
    if (!tables || !isOpen(this.stage) || !tables.get('runs')?.has(this.run)) {
      return null;
    }
    if (this._lastLive?.of !== tables || this._lastLive.seq !== this.log.lastSeq) {
      this._lastLive = { seq: this.log.lastSeq, tables: ofRun(tables, this.run), of: tables };
    }
    return this._lastLive;
  }

  private get _believes(): boolean {
    const link = this._options.model?.view.link.state;
    return isOpen(this.stage) && (link === 'live' || link === 'polling');
  }

  /** The model has other rows, or comes by them in another way. */
  private _heard(): void {
    const believed = this._options.model?.view.link.state !== 'offline';
    if (this._believed && !believed) {
      this._loader.doubt(); // it has learnt that the plane is away: the stream of events may not know yet
    }
    this._believed = believed;
    if (this.cursor === null) {
      this.changed.emit();
    }
  }

  private _wantMoment(): void {
    this.momentProblem = null;
    const comes = this.cursor === null && (!this.isCurrent || this._liveRows() !== null);
    if (this.log.length && !comes) {
      this._moments.want(this.at);
    }
  }

  // --- what is chosen ----------------------------------------------------------------------------------------

  /** Choose an event, in all views at once. `goes`: the view that shows it best comes to the front. */
  select(seq: number | null, goes = false): void {
    this.selected = seq;
    const index = seq === null ? -1 : this.log.indexOf(seq);
    const event = this.log.events[index];
    if (event) {
      const { process, change } = this.placesOf(event);
      this.process = process ?? this.process;
      this.change = change ?? this.change;
      if (goes) {
        this.pane = change !== null ? 'diffs' : process ? 'output' : event.body.type === 'message' ? 'messages' : this.pane;
      }
    }
    this.changed.emit();
  }

  /** Where else an event is to be seen: the change of a file and the process that it is or made, and its span. */
  placesOf(event: IEvent): { change: number | null; process: IProcess | null; span: boolean } {
    const index = this.log.indexOf(event.seq);
    const isChange = this.log.files[upper(this.log.files.length, i => this.log.files[i]!, index - 1)] === index;
    return {
      change: isChange ? index : this._changeIn(event.span, index),
      process: this.log.processOf(event) ?? this._processIn(event.span, index) ?? null,
      span: spanOf(this.log.teller.table, event.seq) >= 0
    };
  }

  /** Show an event where it is a change of a file, or a process. */
  goTo(event: IEvent, pane: 'diffs' | 'output'): void {
    this.select(event.seq);
    this.setPane(pane);
  }

  /** Bring the span of an event into sight. */
  reveal(seq: number): void {
    this.selected = seq;
    this.revealed = { seq };
    this.changed.emit();
  }

  setPane(pane: Pane): void {
    this.pane = pane;
    this.changed.emit();
  }

  setStride(stride: Stride): void {
    this.stride = stride;
    this.changed.emit();
  }

  /** The change of a file that a call made: the first after it that names it as its parent. */
  private _changeIn(span: string | null | undefined, from: number): number | null {
    const { files, events } = this.log;
    return span ? (files.find(index => index > from && events[index]!.parent === span) ?? null) : null;
  }

  private _processIn(span: string | null | undefined, from: number): IProcess | undefined {
    return span ? this.log.processes.find(each => each.start > from && this.log.events[each.start]!.parent === span) : undefined;
  }

  // --- the table of events -----------------------------------------------------------------------------------

  get filter(): IFilter {
    return this.filtered.filter;
  }

  setFilter(filter: IFilter): void {
    this.filtered = new Filtered(this.log, filter);
    this._search();
  }

  private _search(): void {
    clearTimeout(this._searching);
    const done = this.filtered.work(SLICE);
    this.changed.emit();
    if (!done) {
      this._searching = setTimeout(() => this._search(), 0);
    }
  }

  // --- what comes --------------------------------------------------------------------------------------------

  private _grew(): void {
    if (this.cursor === null && isOpen(this.stage)) {
      this._wantMoment();
    }
    this._search();
  }

  private _setStage(stage: Stage): void {
    this._liveRows(); // the last of them are kept
    this.stage = stage;
    if (stage.name === 'ended' || isOpen(stage)) {
      this.complete = true;
      this._wantMoment();
    }
    this.changed.emit();
  }
}

/** Whether the run goes on and is followed. */
export const isOpen = (stage: Stage): boolean => stage.name === 'live' || stage.name === 'polling';

const TABLES = ['runs', 'agents', 'tasks', 'locks', 'approvals', 'artifacts'] as const;

/** The rows of one run, out of those of all. */
function ofRun(tables: Tables, run: string): Tables {
  return new Map(
    TABLES.map(name => [name, new Map(rowsOfRun(tables, name as 'agents', run).map((row, i) => [String(i), row as unknown as Row]))])
  );
}
