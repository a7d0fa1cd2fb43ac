/** The ids of all commands. `openRun` and `compareRuns` belong to the run console: `{run_id}` and `{run_ids: [a, b]}`. */
export const CommandIDs = {
  showPanel: 'agentlab:show-panel',
  spawnAgent: 'agentlab:spawn-agent',
  openRun: 'agentlab:open-run',
  compareRuns: 'agentlab:compare-runs'
} as const;
