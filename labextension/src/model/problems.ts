import { words } from '../translation';
import type { IProblem } from './wire';

/** The code of a problem that no waiting cures: nothing answers for agentlab on this server. */
export const NO_EXTENSION = 'NoServerExtension';

/** A request that was not answered as hoped: what happened, and what to do. */
export class GatewayError extends Error {
  constructor(
    readonly problem: IProblem,
    readonly status: number = 0
  ) {
    super(problem.message);
    this.name = 'GatewayError';
  }
}

/** Nothing answered at all. */
export function unreachable(detail: string): IProblem {
  const { trans } = words;
  return {
    code: 'Unreachable',
    message: trans.__('The Jupyter server does not answer (%1).', detail),
    next: trans.__('Look whether it still runs. Agents go on without it; this page tries again by itself.')
  };
}

/** The server answers, but not for agentlab. */
export function noExtension(): IProblem {
  const { trans } = words;
  return {
    code: NO_EXTENSION,
    message: trans.__('This Jupyter server has no agentlab.'),
    next: trans.__('Install agentlab into the environment of the server (pip install agentlab) and start the server anew. In JupyterLite and on other static pages there are no agents.')
  };
}

/** The way to the server leads to a login. */
export function notLoggedIn(message: string): IProblem {
  const { trans } = words;
  return { code: 'NotLoggedIn', message, next: trans.__('Load the page again to log in anew.') };
}

/** What an answer other than 2xx means. `text`: its body. */
export function problemOf(status: number, text: string): IProblem {
  const { trans } = words;
  const body = parsed(text);
  const message = typeof body?.message === 'string' && body.message ? body.message : trans.__('The server answered %1.', status);
  if (typeof body?.code === 'string') {
    const next = typeof body.next === 'string' ? body.next : '';
    return { code: body.code, message, next };
  }
  switch (status) {
    case 404:
    case 405:
      return noExtension();
    case 401:
    case 403:
      return notLoggedIn(trans.__('The Jupyter server refused this: %1', message));
    case 424: // JupyterHub answers for a server of a user that is not there
      return {
        code: 'ServerStopped',
        message: trans.__('JupyterHub has stopped this Jupyter server.'),
        next: trans.__('Start it again (File > Hub Control Panel) and load this page again. Agents go on without it as long as their machine does.')
      };
    case 502:
    case 503:
    case 504:
      return { code: 'Unavailable', message, next: trans.__('It is tried again by itself.') };
    default:
      return { code: `Http${status}`, message, next: trans.__('The log of the Jupyter server says more.') };
  }
}

/** The problem behind anything that was thrown. */
export function problemIn(error: unknown): IProblem {
  if (error instanceof GatewayError) {
    return error.problem;
  }
  return unreachable(error instanceof Error ? error.message : String(error));
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
