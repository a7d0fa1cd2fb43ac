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
  return {
    code: 'Unreachable',
    message: `The Jupyter server does not answer (${detail}).`,
    next: 'Look whether it still runs. Agents go on without it; this page tries again by itself.'
  };
}

/** The server answers, but not for agentlab. */
export function noExtension(): IProblem {
  return {
    code: NO_EXTENSION,
    message: 'This Jupyter server has no agentlab.',
    next: 'Install agentlab into the environment of the server (pip install agentlab) and start the server anew. In JupyterLite and on other static pages there are no agents.'
  };
}

/** The way to the server leads to a login. */
export function notLoggedIn(message: string): IProblem {
  return { code: 'NotLoggedIn', message, next: 'Load the page again to log in anew.' };
}

/** What an answer other than 2xx means. `text`: its body. */
export function problemOf(status: number, text: string): IProblem {
  const body = parsed(text);
  const message = typeof body?.message === 'string' && body.message ? body.message : `The server answered ${status}.`;
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
      return notLoggedIn(`The Jupyter server refused this: ${message}`);
    case 424: // JupyterHub answers for a server of a user that is not there
      return {
        code: 'ServerStopped',
        message: 'JupyterHub has stopped this Jupyter server.',
        next: 'Start it again (File > Hub Control Panel) and load this page again. Agents go on without it as long as their machine does.'
      };
    case 502:
    case 503:
    case 504:
      return { code: 'Unavailable', message, next: 'It is tried again by itself.' };
    default:
      return { code: `Http${status}`, message, next: 'The log of the Jupyter server says more.' };
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
