import type { IStatusBar } from '@jupyterlab/statusbar';
import React from 'react';

import { HostWidget } from '../sidebar/panel';
import type { IHost } from '../ui/host';
import { StatusItem } from './item';

/** Put the item into the status bar. `take`: a host with other settings. */
export function addStatus(bar: IStatusBar, host: IHost): { take: (host: IHost) => void } {
  const item = new HostWidget(host, <StatusItem />);
  item.addClass('jp-agentlab-statusItem');
  let shown = host.settings.statusBar;
  bar.registerStatusItem('agentlab:status', { item, align: 'left', rank: 20, isActive: () => shown });
  return {
    take: next => {
      shown = next.settings.statusBar;
      item.host = next;
      item.setHidden(!shown);
    }
  };
}
