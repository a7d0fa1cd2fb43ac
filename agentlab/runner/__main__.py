"""`python -m agentlab.runner`"""

from agentlab.runner.main import main

raise SystemExit(main())
