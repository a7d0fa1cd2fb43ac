/** The ids of all commands. `openRun` and `compareRuns` belong to the run console: `{run_id}` and `{run_ids: [a, b]}`. */
export const CommandIDs = {
  showPanel: 'agentlab:show-panel',
  spawnAgent: 'agentlab:spawn-agent',
  sendText: 'agentlab:send-text',
  interruptAgent: 'agentlab:interrupt-agent',
  pauseAgent: 'agentlab:pause-agent',
  resumeAgent: 'agentlab:resume-agent',
  stopAgent: 'agentlab:stop-agent',
  killAgent: 'agentlab:kill-agent',
  openAgent: 'agentlab:open-agent',
  bumpTicket: 'agentlab:bump-ticket',
  cancelTicket: 'agentlab:cancel-ticket',
  releaseTicket: 'agentlab:release-ticket',
  showApprovals: 'agentlab:show-approvals',
  reconnect: 'agentlab:reconnect',
  openRun: 'agentlab:open-run',
  compareRuns: 'agentlab:compare-runs'
} as const;
