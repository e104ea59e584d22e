# Every target first makes the environment in .venv, if it is missing or its pins have changed.
# Works with GNU make 3.81 (macOS). Without make: README.md, "Windows".

fit    = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
           $$p -c '$(fit)' 2>/dev/null && { echo $$p; break; }; done)
PY     = $(if $(filter Windows_NT,$(OS)),.venv/Scripts/python,.venv/bin/python)

.DEFAULT_GOAL := help
.PHONY: help environment book test quick test-portable notebooks results lab bench other-seeds lint pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

environment: ## make or repair .venv (the other targets do it by themselves)
	@python='$(PYTHON)'; test -n "$$python" || { echo "No Python 3.11 or newer was found: install one, or name it, as in 'make book PYTHON=/path/to/python3'." >&2; exit 1; }; \
	$$python tools/environment.py

book: environment ## build the HTML from the stored notebooks and print the page to open
	@$(PY) -m tools.build

test: environment ## run every test: library, tools, chapters (nbval, strict), pages in a browser
	@$(PY) -m pytest -n 2 --dist loadfile

quick: environment ## run the unit tests alone, under a minute: no notebooks, no browser, nothing slow
	@HYPOTHESIS_PROFILE=quick $(PY) -m pytest tests -n 2 -m 'not slow and not browser'

# Other instruction sets, as far as one machine can play them: what is stored must survive them all.
# NumPy switches off only what it names in __cpu_dispatch__, and ignores other names without a word.
test-portable: environment ## re-run the notebooks without vector instructions, on one thread and two
	@features=`$(PY) -c 'from numpy._core._multiarray_umath import __cpu_dispatch__ as d; print(*d)'`; \
	for threads in 1 2; do \
	  echo "$$threads thread(s), without $$features"; \
	  ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Prescott \
	  NPY_DISABLE_CPU_FEATURES="$$features" OMP_NUM_THREADS=$$threads OPENBLAS_NUM_THREADS=$$threads \
	  $(PY) -m pytest notebooks -n 2 --dist loadfile || exit 1; \
	done

notebooks: environment ## bring the notebooks up to date with the text; executes what changed
	@$(PY) -m tools.notebooks

lab: environment ## open the chapters in JupyterLab
	@$(PY) -m jupyterlab

# labml-nn's own dependencies are not wanted: its LSTM needs nothing but PyTorch.
bench: environment ## measure the layers against torch.nn, about twenty minutes; rewrites the tables
	@$(PY) -m pip install -q --no-deps --disable-pip-version-check labml-nn==0.5.1 || true
	@$(PY) -m benchmarks

# What the present code gives as stored is not run again; the rest may take hours.
results: environment ## bring stored results up to date with the code; runs again what changed
	@$(PY) -m rnnbook.experiments --renew --jobs 2 && $(PY) -m benchmarks --renew

# Other seeds: make other-seeds SHIFT="4 5", for one chapter CHAPTER=lstm.
other-seeds: environment ## read all claims again with other seeds, ten minutes; tells what fell
	@$(PY) -m tools.other_seeds $(CHAPTER) --shift $(or $(SHIFT),1 2 3)

lint: environment ## check code and format with ruff, types with mypy
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

# Not the environment: that wants a lock that fits.
pins: ## choose anew the versions of what requirements.txt brings along
	@test -x $(PY) || $(MAKE) environment
	@$(PY) -m uv pip compile requirements.txt -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --color never -o requirements.new && \
	{ sed '/^[^#]/,$$d' requirements.lock; \
	  awk '/^[a-z]/ { keep = !/^(torch|triton|cuda-|nvidia-)/ } keep' requirements.new; } > requirements.made && \
	mv requirements.made requirements.lock; rm -f requirements.new

clean: ## remove what was built; keeps .venv
	@rm -rf _build .pytest_cache .hypothesis .mypy_cache .ruff_cache build dist
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
