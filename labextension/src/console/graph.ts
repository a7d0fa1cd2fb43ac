import * as dagre from '@dagrejs/dagre';

import type { ITouch } from './plan';

/** A box of the graph, px; `x`, `y`: its middle. */
export interface INode {
  readonly id: string;
  readonly kind: 'agent' | 'unit';
  readonly label: string;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** A line of the graph. */
export interface IEdge {
  readonly touch: ITouch;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** A graph that is laid out. */
export interface IDrawing {
  readonly width: number;
  readonly height: number;
  readonly nodes: readonly INode[];
  readonly edges: readonly IEdge[];
  /** How many lines there were no room for. */
  readonly left: number;
}

/** More than these are no picture any more. */
export const MOST = 160;

/** Agents at the left, units at the right, a line for each plan and write. */
export function draw(touches: readonly ITouch[]): IDrawing {
  const shown = touches.length <= MOST ? touches : [...touches].sort((a, b) => b.seq - a.seq).slice(0, MOST);
  const graph = new dagre.graphlib.Graph({ multigraph: false });
  graph.setGraph({ rankdir: 'LR', nodesep: 10, ranksep: 120, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  const add = (id: string, label: string) =>
    graph.hasNode(id) || graph.setNode(id, { label, width: Math.min(320, 26 + label.length * 7), height: 26 });
  for (const { agent, unit } of shown) {
    add(`a ${agent}`, agent);
    add(`u ${unit}`, unit);
    graph.setEdge(`a ${agent}`, `u ${unit}`);
  }
  if (shown.length) {
    dagre.layout(graph);
  }
  const nodes = graph.nodes().map((id: string): INode => {
    const { label, x, y, width, height } = graph.node(id) as unknown as INode;
    return { id, kind: id.startsWith('a ') ? 'agent' : 'unit', label: label!, x, y, width, height };
  });
  const edges = shown.map(touch => ({
    touch, points: (graph.edge(`a ${touch.agent}`, `u ${touch.unit}`) as unknown as { points: { x: number; y: number }[] }).points
  }));
  const size = graph.graph() as unknown as { width?: number; height?: number };
  return { width: size.width || 0, height: size.height || 0, nodes, edges, left: touches.length - shown.length };
}
