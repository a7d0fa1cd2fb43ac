/** The timeline: no framework, no JupyterLab. Two hosts show it, the run console and the widget of the notebook. */
export { Timeline, type IPlace, type ITimelineOptions } from './timeline';
export { SpanTable, Kind, Fate, spanOf, type ISpan } from './spans';
export { Teller } from './teller';
export { plain, kindNames, spanLines, type ITrans } from './words';
export * from './events';
