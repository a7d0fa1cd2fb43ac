/**
 * Every word that a person reads goes through the translator, in calls that JupyterLab's tools find in the source: `trans.__('…')` with
 * a text that is written there. The sources are read, so that a view which no other test opens is looked at too.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const SOURCES = 'src';
const READ = new Set(['aria-label', 'aria-valuetext', 'aria-roledescription', 'title', 'placeholder', 'alt', 'label']); // attributes
const SAID = new Set(['label', 'caption', 'title', 'placeholder', 'okLabel', 'body', 'message', 'next', 'textContent', 'innerText', 'category']); // properties
const CALLS = new Set(['__', '_n', '_p', '_np', 'gettext', 'ngettext']);
const FOUND = new Set(['trans', 'this._trans']); // what the extraction knows a translator by
const VERBATIM = new Set(['code', 'pre', 'style', 'kbd']); // what is in them is typed or shown as it is
const NAMES = /^(agentlab:?|file:src\/a\.py dir:docs proc:test|my-agent [-\w]+|approve tool=run command='pytest\*')$/; // no words: names, and what is typed

interface IFinding {
  readonly where: string;
  readonly text: string;
}

const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter(name => /\.tsx?$/.test(name) && !name.endsWith('.d.ts'));

function parsed(name: string, text = readFileSync(join(SOURCES, name), 'utf8')): ts.SourceFile {
  return ts.createSourceFile(name, text, ts.ScriptTarget.Latest, true, name.endsWith('x') ? ts.ScriptKind.TSX : ts.ScriptKind.TS);
}

/** The texts that an expression may come to, where they are written in it: not those that are handed to a call. */
function literals(node: ts.Node | undefined): string[] {
  if (!node) {
    return [];
  }
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) {
    return [node.text];
  }
  if (ts.isTemplateExpression(node)) {
    return [node.head.text, ...node.templateSpans.flatMap(span => [...literals(span.expression), span.literal.text])];
  }
  if (ts.isConditionalExpression(node)) {
    return [...literals(node.whenTrue), ...literals(node.whenFalse)];
  }
  if (ts.isBinaryExpression(node)) {
    const { kind } = node.operatorToken;
    const both = kind === ts.SyntaxKind.PlusToken || kind === ts.SyntaxKind.BarBarToken || kind === ts.SyntaxKind.QuestionQuestionToken;
    return both ? [...literals(node.left), ...literals(node.right)] : kind === ts.SyntaxKind.AmpersandAmpersandToken ? literals(node.right) : [];
  }
  if (ts.isParenthesizedExpression(node) || ts.isJsxExpression(node) || ts.isAsExpression(node) || ts.isNonNullExpression(node)) {
    return literals(node.expression);
  }
  return [];
}

/** A text with a word in it: some letters after one another, and not a name. */
function isWord(text: string): boolean {
  return /\p{L}{2,}/u.test(text) && !NAMES.test(text.trim());
}

function verbatim(node: ts.Node): boolean {
  for (let at: ts.Node | undefined = node.parent; at; at = at.parent) {
    if (ts.isJsxElement(at) && VERBATIM.has(at.openingElement.tagName.getText())) {
      return true;
    }
  }
  return false;
}

/** Words that bypass the translator, and calls of it that no tool finds. */
function findings(source: ts.SourceFile): { bypassing: IFinding[]; unseen: IFinding[]; found: string[] } {
  const [bypassing, unseen]: [IFinding[], IFinding[]] = [[], []];
  const found: string[] = [];
  const note = (list: IFinding[], node: ts.Node, text: string): void => {
    const { line } = source.getLineAndCharacterOfPosition(node.getStart(source));
    list.push({ where: `${source.fileName}:${line + 1}`, text });
  };
  const look = (node: ts.Node, of: ts.Node | undefined): void => {
    literals(of).filter(isWord).forEach(text => note(bypassing, node, text));
  };
  const visit = (node: ts.Node): void => {
    if (ts.isJsxText(node) && !verbatim(node) && isWord(node.text)) {
      note(bypassing, node, node.text.trim());
    } else if (ts.isJsxExpression(node) && !ts.isJsxAttribute(node.parent) && !verbatim(node)) {
      look(node, node.expression);
    } else if (ts.isJsxAttribute(node) && READ.has(node.name.getText())) {
      look(node, node.initializer);
    } else if (ts.isPropertyAssignment(node) && SAID.has(node.name.getText())) {
      look(node, node.initializer);
    } else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken && ts.isPropertyAccessExpression(node.left)) {
      if (SAID.has(node.left.name.text)) {
        look(node, node.right);
      }
    } else if (ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression)) {
      const { expression, name } = node.expression;
      if (name.text === 'setAttribute' && READ.has(literals(node.arguments[0])[0] ?? '')) {
        look(node, node.arguments[1]);
      } else if (/^(error|warning|info|success)$/.test(name.text) && expression.getText() === 'Notification') {
        look(node, node.arguments[0]);
      } else if (CALLS.has(name.text)) {
        const texts = node.arguments.slice(0, name.text === '_n' ? 2 : 1);
        const written = texts.every(text => ts.isStringLiteral(text) || ts.isNoSubstitutionTemplateLiteral(text));
        if (written && FOUND.has(expression.getText())) {
          found.push(...texts.map(text => (text as ts.StringLiteral).text));
        } else {
          note(unseen, node, node.getText().slice(0, 120));
        }
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return { bypassing, unseen, found };
}

describe('the words of agentlab', () => {
  test('all that people read is handed to the translator', () => {
    expect(files.length).toBeGreaterThan(60);
    expect(files.flatMap(name => findings(parsed(name)).bypassing)).toEqual([]);
  });

  test('a language pack can be made of them: each call names its text where the tools look for it', () => {
    expect(files.flatMap(name => findings(parsed(name)).unseen)).toEqual([]);
    expect(files.flatMap(name => findings(parsed(name)).found).length).toBeGreaterThan(300);
  });

  test('placeholders of a text and its plural are the same', () => {
    const strange = files.flatMap(name => findings(parsed(name)).found).filter(text => /%[^\d% ),.:]/.test(text.replace(/%agent/g, '')));
    expect(strange).toEqual([]);
  });

  test.each([
    ['<b>Hello</b>', 1],
    ["<b title='Hello'>x</b>", 1],
    ['<b>{on ? `${n} agents` : trans.__("none")}</b>', 1],
    ["node.setAttribute('aria-label', 'Close')", 1],
    ["const it = { label: open ? 'Open' : trans.__('Closed') }", 1],
    ["node.title = 'Kill it'", 1],
    ["Notification.error('No run')", 1],
    ['<b className="jp-b" title={trans.__("Hello")}>{n} · {trans.__("Hello")}</b>', 0],
    ['<code>%agent spawn</code>', 0]
  ])('what bypasses it is found: %s', (text, n) => {
    expect(findings(parsed('some.tsx', text)).bypassing).toHaveLength(n);
  });
});
