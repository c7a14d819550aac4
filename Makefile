# Everything a user runs. Presumed: Python 3.11 or newer with venv, git, make; all else comes through pip.
.DEFAULT_GOAL := help
.PHONY: help book lab test lint notebooks generate answers oracles defaults record clean

# What a user's shell sets must not reach a notebook's output.
export IPYTHONDIR := $(CURDIR)/_build/ipython
export MPLCONFIGDIR := $(CURDIR)/_build/matplotlib
export JUPYTER_CONFIG_DIR := $(CURDIR)/_build/jupyter
export JUPYTER_PLATFORM_DIRS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1
unexport PYTHONPATH PYTHONSTARTUP PYTHONHASHSEED PYTHONWARNINGS

python := .venv/bin/python
environment := bash tools/environment.sh .venv requirements.txt

help:
	@echo "make book       build the book and print where to open it"
	@echo "make lab        the notebooks in JupyterLab"
	@echo "make test       everything that can be checked on this machine"
	@echo "make oracles    the same numbers from torch, transformers and llama.cpp, in an environment of its own"
	@echo "make record     write down what torch, transformers and llama.cpp say (tests/recorded)"
	@echo "make defaults   write down what transformers' configuration classes declare (memcalc/data)"
	@echo "make notebooks  execute every notebook in place (the one command that writes outputs)"
	@echo "make generate   write the generated files again"
	@echo "make answers    write the golden answers again: every model, engine and recorded training plan"
	@echo "make lint       style, types, spelling"
	@echo "make clean      remove environments and products"

book:
	@$(environment)
	@$(python) tools/book.py

lab:
	@$(environment)
	@$(python) -m jupyter lab notebooks

test:
	@$(environment)
	@$(python) tools/gate.py

lint:
	@$(environment)
	@$(python) tools/gate.py lint

notebooks:
	@$(environment)
	@$(python) tools/notebooks.py

generate:
	@$(environment)
	@$(python) tools/generate.py

answers:
	@$(environment)
	@$(python) tools/answers.py

defaults:
	@bash tools/environment.sh .venv-oracles requirements-oracles.txt
	@.venv-oracles/bin/python tools/model_defaults.py

record:
	@bash tools/environment.sh .venv-oracles requirements-oracles.txt
	@.venv-oracles/bin/python tools/record_oracles.py $(types)

oracles:
	@bash tools/environment.sh .venv-oracles requirements-oracles.txt
	@.venv-oracles/bin/python tools/gate.py oracles

clean:
	rm -rf .venv .venv-oracles _build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
