# groundr1: every command of the kit. `make help` lists them; each shows the commands that it runs.
#
#   make reproduce NAME=mine      results under runs/mine instead of runs/default
#   make setup PYTHON=python3.12  another interpreter (3.11 or newer)
#   make test PYTEST="-k srpo"    some of the tests
#   make bench BENCHMARKS=scaling one of the benchmarks

NAME   ?= default
PYTEST ?=
BENCHMARKS ?= rollout_throughput training_step scaling memory advantage_share picture_preparation dry_run_memory scoring_speed evaluation_throughput validation_throughput validation_memory
VENV   := .venv
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.tools
BIN    := $(VENV)/bin

# Nothing is downloaded after the installation: the base model and the data are part of the kit.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1

# The first interpreter that runs, is 3.11 or newer and can make virtual environments.
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python
FIND_PYTHON = for python in $(CANDIDATES); do \
	if $$python -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; break; fi; done

.DEFAULT_GOAL := help
.PHONY: help setup reproduce test bench fuzz lint format clean

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

setup: $(READY) ## make .venv and install the pinned versions

reproduce: $(READY) ## run the five notebooks at their CPU defaults, draw the figures, print a summary
	$(OFFLINE) $(BIN)/python -m groundr1.notebooks reproduce --name $(NAME)

test: $(READY) ## run the tests, notebooks included, with line coverage
	$(OFFLINE) $(BIN)/python -m pytest --cov --cov-report=term $(if $(PYTEST),--cov-fail-under=0) $(PYTEST)

bench: $(READY) ## run the benchmarks, print their tables, write benchmarks/results (leave the machine alone meanwhile)
	@for name in $(BENCHMARKS); do \
		echo "$(OFFLINE) $(BIN)/python -W ignore -m benchmarks.$$name"; \
		$(OFFLINE) $(BIN)/python -W ignore -m benchmarks.$$name || exit 1; \
	done

fuzz: $(READY) ## give 120,000 hostile inputs to all that reads what others wrote (minutes)
	cd tests && $(OFFLINE) ../$(BIN)/python -W ignore -m fuzz --inputs 120000

lint: $(TOOLS) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify --keep-id --keep-metadata-keys "cell.metadata.tags metadata.kernelspec" notebooks/*.ipynb

format: $(TOOLS) ## repair style, strip notebook outputs
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout --keep-id --keep-metadata-keys "cell.metadata.tags metadata.kernelspec" notebooks/*.ipynb

clean: ## remove .venv and caches; runs/ and figures/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage htmlcov *.egg-info
	find groundr1 tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch comes first and alone, so that pip takes the build that fits the machine; the rest follows at pinned versions.
$(READY): pyproject.toml constraints.txt
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "No usable Python 3.11 or newer among: $(CANDIDATES)." >&2; \
		echo "Install one together with its venv module, or name it: make setup PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "$$python -m venv --clear $(VENV)"; $$python -m venv --clear $(VENV)
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install -c constraints.txt -e ".[test]"
	touch $@

$(TOOLS): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e ".[test,dev]"
	touch $@
