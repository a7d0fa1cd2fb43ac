// What a terminal or a browser could obey is shown, not done: the same rules as agentlab.client.text.
// eslint-disable-next-line no-control-regex
const ANSI = /\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[ -/]*[0-~])/g;
const UNSEEN =
  // eslint-disable-next-line no-control-regex
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/** A text without terminal sequences, and with every other control, direction or invisible character written out. */
export function visibleText(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(ANSI, '').replace(UNSEEN, writtenOut);
}

function writtenOut(char: string): string {
  const code = char.codePointAt(0)!;
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, '0')}` : code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\U${hex.padStart(8, '0')}`;
}

/** One visible line of at most `limit` characters. */
export function line(text: string, limit = 160): string {
  const short = visibleText(text.slice(0, limit * 8)).split(/\s+/).join(' ').trim();
  return short.length <= limit ? short : `${short.slice(0, limit - 1)}…`;
}
