# Two commands matter: `make demo` and `make test`. Both set up whatever they need, in .venv and nowhere else.
# What needs root (Debian packages for the benchmarks' peers) is installed when it can be and named when it cannot.

PYTHON  ?= python3
WORKERS ?= 4
VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo lab labextension programs test lint types layers check bench clean distclean

help:            ## what there is
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

setup: $(STAMP)  ## the virtual environment, with everything

$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/setup.sh
	@touch $@

demo: $(STAMP)   ## run the quickstart notebook headless and tell what happened
	@$(BIN)/python scripts/demo.py

lab: $(STAMP)    ## open the notebooks in JupyterLab
	@VENV="$(VENV)" bash scripts/labextension.sh || true
	@AGENTLAB_HOME="$${AGENTLAB_HOME:-$(CURDIR)/demo-output/home}" $(BIN)/jupyter lab --notebook-dir notebooks

labextension: $(STAMP) ## build the extension of JupyterLab, if it is not (brings Node where there is none)
	@VENV="$(VENV)" bash scripts/labextension.sh

lint: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP)
	@$(BIN)/mypy

layers: $(STAMP)
	@$(BIN)/lint-imports --no-logo

check: lint types layers ## style, types, layers

programs: $(STAMP)
	@VENV="$(VENV)" bash scripts/labextension.sh || [ "$$CI" != true ]
	@VENV="$(VENV)" bash scripts/agents.sh || [ "$$CI" != true ]
	@bash scripts/browser.sh || [ "$$CI" != true ]

# More workers than a small machine has processors: much of it waits, for locks, programs, browsers. They begin with what takes
# longest (tests/conftest.py). What is compiled is kept where PYTHONDONTWRITEBYTECODE would have each process compile it again.
test: $(STAMP)   ## all checks and all tests
	@$(MAKE) --no-print-directory -j 2 --output-sync=target check programs
	@$(BIN)/python -m compileall -q agentlab
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

bench: $(STAMP)  ## ratios against named peers, as a table and as benchmarks/results/*.json
	@VENV="$(VENV)" bash scripts/peers.sh
	@$(BIN)/python -m benchmarks

clean:           ## caches and results
	@rm -rf demo-output benchmarks/results .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build

distclean: clean
	@rm -rf $(VENV) .agents labextension/node_modules labextension/lib labextension/*.tsbuildinfo labextension/.built agentlab/labextension agentlab/notebook/static
