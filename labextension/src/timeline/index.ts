/** The timeline: no framework, no JupyterLab. Two hosts show it, the run console and the widget of the notebook. */
export { Timeline, type ITimelineOptions } from './timeline';
export type { IPlace } from './sight';
export { SpanTable, Kind, Fate, spanOf, type ISpan } from './spans';
export { Teller } from './teller';
export { plain, kindNames, spanLines, type ITrans } from './words';
export * from './events';
