import { useVirtualizer } from '@tanstack/react-virtual';
import * as React from 'react';

/** What a list of rows of one height shows. */
export interface IRowsProps {
  readonly count: number;
  readonly height: number;
  readonly label: string;
  readonly render: (index: number) => React.ReactNode;
  readonly className?: string;
  /** The row that is brought into sight when it changes; -1: none. */
  readonly current: number;
  readonly onMove?: (index: number) => void;
  readonly onOpen?: (index: number) => void;
  /** Stay at the end while rows come. */
  readonly tail?: boolean;
  readonly role?: 'listbox' | 'grid';
}

/** Rows of which only those on the screen exist. Arrow keys, page keys, Home and End move; Enter opens. */
export function Rows(props: IRowsProps): JSX.Element {
  const { count, height, label, render, current, onMove, onOpen, tail } = props;
  const parent = React.useRef<HTMLDivElement>(null);
  const id = React.useId();
  const rows = useVirtualizer({
    count, getScrollElement: () => parent.current, estimateSize: () => height, overscan: 12, initialRect: { width: 800, height: 400 }
  });
  const seen = React.useRef(-1);
  React.useEffect(() => {
    if (current >= 0 && current !== seen.current) {
      rows.scrollToIndex(current, { align: 'auto' });
    }
    seen.current = current;
  }, [current]);
  React.useEffect(() => {
    if (tail && count) {
      rows.scrollToIndex(count - 1, { align: 'end' });
    }
  }, [tail, count]);
  const keys = (event: React.KeyboardEvent) => {
    const page = Math.max(1, Math.floor((parent.current?.clientHeight ?? 200) / height) - 1);
    const moves: Record<string, number> = {
      ArrowDown: current + 1, ArrowUp: current < 0 ? count - 1 : current - 1, PageDown: current + page, PageUp: current - page, Home: 0,
      End: count - 1
    };
    const to = moves[event.key];
    if (to !== undefined && onMove && count) {
      event.preventDefault();
      onMove(Math.min(Math.max(to, 0), count - 1));
    } else if (event.key === 'Enter' && onOpen && current >= 0) {
      event.preventDefault();
      onOpen(current);
    }
  };
  return (
    <div
      ref={parent}
      className={`jp-agentlab-run-rows ${props.className ?? ''}`}
      role={onMove ? 'listbox' : 'list'}
      aria-label={label}
      aria-activedescendant={current >= 0 ? `${id}-${current}` : undefined}
      tabIndex={0}
      onKeyDown={keys}
    >
      <div style={{ height: rows.getTotalSize(), position: 'relative', minWidth: 'max-content' }} role="presentation">
        {rows.getVirtualItems().map(item => (
          <div
            key={item.key}
            id={`${id}-${item.index}`}
            role={onMove ? 'option' : 'listitem'}
            aria-selected={onMove ? item.index === current : undefined}
            aria-posinset={item.index + 1}
            aria-setsize={count}
            className={`jp-agentlab-run-row${item.index === current ? ' jp-mod-current' : ''}`}
            style={{ height, transform: `translateY(${item.start}px)` }}
            onClick={() => onMove?.(item.index)}
            onDoubleClick={() => onOpen?.(item.index)}
          >
            {render(item.index)}
          </div>
        ))}
      </div>
    </div>
  );
}
