import { number, ownerName, text, texts, type IEvent, type Json } from '../timeline/events';
import { command } from '../timeline/teller';
import { line } from '../timeline/visible';

/** One line that says what an event says: made for a table, so short, and safe to show. */
export function say(event: IEvent): string {
  const { body } = event;
  switch (body.type) {
    case 'run.start':
      return line(`${text(body, 'name')} in ${text(body, 'root')}`);
    case 'run.end':
      return line(`${event.status ?? ''} ${text(body, 'reason')}`);
    case 'task.create':
      return line(text(body, 'goal'));
    case 'task.update':
      return line(`${text(body, 'was')} → ${event.status ?? ''}`);
    case 'plan':
      return line(texts(body, 'steps').join(' · '));
    case 'agent.start':
      return line(`${field(body.spec, 'kind')} ${event.name ?? ''}`);
    case 'agent.state':
      return line(`${text(body, 'was')} → ${event.status ?? ''} ${text(body, 'reason')}`);
    case 'agent.end':
      return line(text(body, 'error') || `${event.status ?? ''} ${short(body.output)}`);
    case 'message':
      return line(`${text(body, 'role')}: ${text(body, 'text')}`);
    case 'model.call':
      return line([text(body, 'provider'), event.name, text(body, 'stop')].filter(Boolean).join(' · '));
    case 'model.exchange': {
      const sizes = `${number(body, 'request_size').toLocaleString()} → ${number(body, 'response_size').toLocaleString()} bytes`;
      return line(`${text(body, 'method')} ${text(body, 'path')} · ${text(body, 'error') || number(body, 'code')} · ${sizes}`);
    }
    case 'tool.call':
      return line(`${event.name ?? ''} ${short(body.args)}`);
    case 'tool.result':
      return line(text(body, 'error') || short(body.output) || (event.status ?? ''));
    case 'file.read':
      return line(`${text(body, 'path')} (${number(body, 'size')} bytes)`);
    case 'file.write':
      return line(`${text(body, 'path')} +${number(body, 'added')} −${number(body, 'removed')}${via(body.via)}`);
    case 'file.delete':
      return line(`${text(body, 'path')}${via(body.via)}`);
    case 'file.rename':
      return line(`${text(body, 'path')} → ${text(body, 'to')}`);
    case 'proc.start':
      return line(command(texts(body, 'argv')));
    case 'proc.output':
      return line(text(body, 'data'));
    case 'proc.exit':
      return line(typeof body.signal === 'number' ? `signal ${body.signal}` : `exit ${number(body, 'code')}`);
    case 'artifact':
      return line(`${text(body, 'kind')} ${event.name ?? ''} (${number(body, 'size')} bytes)`);
    case 'lock.request':
      return line(`${units(event)} behind ${owners(body.behind)}`);
    case 'lock.grant':
      return line(`${units(event)} ${text(body, 'mode')} · token ${number(body, 'token')}`);
    case 'lock.release':
    case 'lock.expire':
    case 'lock.deny':
      return line(`${units(event)} ${text(body, 'reason')}`);
    case 'handoff':
      return line(`to ${text(body, 'to')}: ${text(body, 'summary')}`);
    case 'approval':
      return line(`${event.status ?? ''} ${text(body, 'question') || text(body, 'answer')}`);
    case 'guard':
      return line(`${text(body, 'rule')}: ${text(body, 'detail')}`);
    case 'state':
      return line(`${text(body, 'store')} ${ownerName(text(body, 'key'))}: ${short(body.after)} ${short(body.provenance)}`);
    case 'error':
      return line(`${text(body, 'kind')}: ${text(body, 'message')}`);
    default: {
      const { type: _type, ...rest } = body;
      return line(JSON.stringify(rest) ?? '');
    }
  }
}

const via = (value: Json | undefined) => (typeof value === 'string' && value !== 'tool' ? ` (${value})` : '');

const units = (event: IEvent) => texts(event.body, 'units').join(', ') || (event.unit ?? '');

function owners(behind: Json | undefined): string {
  const names = Array.isArray(behind) ? behind.map(each => ownerName(field(each, 'owner'))) : [];
  return [...new Set(names)].join(', ');
}

function field(value: Json | undefined, name: string): string {
  const found = value && typeof value === 'object' && !Array.isArray(value) ? (value as { [key: string]: Json })[name] : '';
  return typeof found === 'string' ? found : '';
}

/** A value on a line: texts as they are, fields of an object beside each other. */
function short(value: Json | undefined): string {
  if (value === null || value === undefined) {
    return '';
  }
  if (typeof value === 'string') {
    return value.slice(0, 400);
  }
  if (typeof value === 'object' && !Array.isArray(value)) {
    return Object.entries(value).map(([key, each]) => `${key}=${typeof each === 'string' ? each.slice(0, 200) : (JSON.stringify(each) ?? '').slice(0, 200)}`).join(' ');
  }
  return (JSON.stringify(value) ?? '').slice(0, 400);
}
