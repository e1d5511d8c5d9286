# make            lists the targets
# make run        sets everything up and inspects a model (MODEL=org/name to choose one)
# make test       sets everything up and runs the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MODEL ?= meta-llama/Meta-Llama-3-8B
SECONDS ?= 60
TORCH := torch==2.13.0
TORCHVISION := torchvision==0.28.0
OLDEST_TESTS := tests/test_structure.py tests/test_command.py tests/test_no_code_runs.py tests/hub tests/batch tests/report \
  tests/devices tests/verdict tests/logs tests/manifest tests/model/test_config.py tests/model/test_architecture.py
NEWEST_TESTS := tests/test_structure.py tests/test_command.py tests/test_no_code_runs.py tests/test_cases.py tests/hub \
  tests/batch tests/report tests/manifest tests/model

.DEFAULT_GOAL := help
.PHONY: oracle-llama oracle-mlx help run test cases fuzz oldest lint types format bench accuracy oracle oracle-engines oracle-vllm oracle-sglang oracle-keys oracle-training oracle-zero tables docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The stamps follow pyproject.toml: once set up, no target asks a package registry again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "llm-inspect needs Python 3.10 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml tests/requirements-no-deps.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement tests/requirements-no-deps.txt
	@touch $@ $(VENV)/.run

run: $(VENV)/.run ## set up and inspect a model: make run MODEL=org/name
	@$(BIN)/llm-inspect $(MODEL)

test: $(VENV)/.test ## set up and run the tests; those in a browser, too, where a Chromium is found
	$(BIN)/python -m pytest --numprocesses auto $(ARGS)
	@$(if $(ARGS),:,if $(BIN)/python tests/browser/chromium.py; then $(MAKE) --no-print-directory test-browser; \
	  else echo "so the tests in a browser are left out"; fi)

$(VENV)/packages/.packages: tests/packages/requirements.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/packages
	$(VENV)/packages/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.PHONY: dist test-dist test-packages
dist: $(VENV)/packages/.packages ## build the source distribution and the wheel into dist/
	rm -rf dist
	$(VENV)/packages/bin/python -m build --no-isolation

test-dist: $(VENV)/.test dist ## install what `make dist` built on the lowest and the highest Python here, and run it (asks a package registry)
	$(BIN)/python -m pytest --numprocesses 2 -m packages tests/packages/test_dist.py $(ARGS)

test-packages: $(VENV)/.test dist ## all of the packages: test-dist, uvx, pipx, the hf extension, the Action, the hook, the Dockerfile (minutes)
	$(BIN)/python -m pytest --numprocesses 2 -m packages tests/packages $(ARGS)

# What the extra `mcp` needs has an environment of its own, so that `make test` shows what goes without.
$(VENV)/mcp/.mcp: pyproject.toml | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/mcp
	$(VENV)/mcp/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[mcp,test]'
	@touch $@

.PHONY: test-mcp
test-mcp: $(VENV)/mcp/.mcp ## serve `llm-inspect mcp` to the official client
	$(VENV)/mcp/bin/python -m pytest tests/packages/test_mcp.py $(ARGS)

# The browser itself is the system's, as CI has no other: Debian's `chromium`, or Chrome; CHROMIUM=path names one.
$(VENV)/browser/.browser: pyproject.toml tests/browser/requirements.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/browser
	$(VENV)/browser/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test,web]' \
	  --requirement tests/browser/requirements.txt
	@touch $@

.PHONY: web-static
web-static: $(VENV)/packages/.packages ## write build/web: the page for any file host or a Hugging Face Space, with no server behind it (needs npm)
	@$(VENV)/packages/bin/python packaging/web_static.py $(ARGS)

.PHONY: test-browser
test-browser: $(VENV)/browser/.browser ## the HTML report and the page in a real browser: Chromium, by Playwright
	@$(VENV)/browser/bin/python tests/browser/chromium.py
	@$(MAKE) --no-print-directory web-static ARGS= || echo "so the tests of the page without a server are left out"
	$(VENV)/browser/bin/python -m pytest --numprocesses 2 tests/browser tests/web $(ARGS)

$(VENV)/web/.web: pyproject.toml | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/web
	$(VENV)/web/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[web]'
	@touch $@

.PHONY: web
web: $(VENV)/web/.web ## set up and open the page in the browser, on the bundled Llama 3 8B: make web ARGS=./my-model
	@$(VENV)/web/bin/llm-inspect web $(ARGS)

cases: $(VENV)/.test ## real-world reports: what the tool says of each is right
	$(BIN)/python -m pytest --quiet tests/test_cases.py

fuzz: $(VENV)/.test ## fuzz every reader: make fuzz SECONDS=1800 TARGETS="config gguf" (seconds each; default 60, all)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(TARGETS)

# The tests that need no torch, in an environment of the lowest versions that pyproject.toml allows.
$(VENV)/oldest/.oldest: pyproject.toml tests/other_versions.py tests/requirements-no-deps.txt | $(VENV)/.test
	rm -rf $(VENV)/oldest
	$(PYTHON) -m venv $(VENV)/oldest
	$(BIN)/python tests/other_versions.py > $(VENV)/oldest/requirements.txt
	$(VENV)/oldest/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(VENV)/oldest/requirements.txt
	$(VENV)/oldest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . --requirement tests/requirements-no-deps.txt
	@touch $@

oldest: $(VENV)/oldest/.oldest ## run the tests with the oldest versions of what is needed
	$(VENV)/oldest/bin/python -m pytest --numprocesses auto $(OLDEST_TESTS) $(ARGS)

# No stamp: what is newest is asked for each time. It fails where a test does, or where transformers has types that
# inspector/data lacks or has otherwise: then `make tables` is due.
.PHONY: newest
newest: $(VENV)/.test ## run the tests with the newest transformers, huggingface_hub, click and rich; list new and changed types
	test -x $(VENV)/newest/bin/python || $(PYTHON) -m venv $(VENV)/newest
	$(BIN)/python tests/other_versions.py --newest > $(VENV)/newest/requirements.txt
	$(VENV)/newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --requirement $(VENV)/newest/requirements.txt
	$(VENV)/newest/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable . --requirement tests/requirements-no-deps.txt
	@$(VENV)/newest/bin/python -m pip list --disable-pip-version-check | grep -iE '^(transformers|huggingface.hub|click|rich) '
	$(VENV)/newest/bin/python -m pytest --numprocesses auto $(NEWEST_TESTS) $(ARGS); tests=$$?; \
	  $(VENV)/newest/bin/python -m fixtures.what_is_new && exit $$tests

lint: $(VENV)/.test ## check style and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.test ## let ruff format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.test ## check types with mypy
	$(BIN)/mypy

# The other tools have an environment of their own: their requirements are theirs.
$(VENV)/peers/.peers: benchmarks/requirements-peers.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

bench: $(VENV)/.test $(VENV)/peers/.peers ## time llm-inspect beside hf-mem, modelinfo-cli and huggingface_hub, on a loopback Hub; and how it grows
	$(BIN)/python -m benchmarks.cold_report --peers $(VENV)/peers/bin/python $(ARGS)
	$(BIN)/python -m benchmarks.start_up
	$(BIN)/python -m benchmarks.batch
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.questions

# What the page compares with needs torch, and node for one tool that is on npm.
$(VENV)/peers/.compared: $(VENV)/peers/.peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) accelerate==1.15.0 hf-vram-calc==1.0.9 llmfit==1.1.17
	! command -v npm || npm install --silent --prefix $(VENV)/node fitllm@2.18.0
	@touch $@

.PHONY: compared
compared: $(VENV)/.test $(VENV)/peers/.compared ## write docs/compared.md: other tools' answers beside what transformers' classes hold (half an hour)
	$(BIN)/python -m benchmarks.compared --write $(if $(wildcard $(VENV)/node),--node $(VENV)/node) $(ARGS)

accuracy: $(VENV)/.test ## score the serving engines on published cases: make accuracy CASES=folder
	$(BIN)/python -m benchmarks.accuracy $(CASES) $(ARGS)

# The site has an environment of its own. mkdocs-material: search, dark mode and phones without a line of our own.
$(VENV)/docs/.docs: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/python -m pip install --quiet --disable-pip-version-check 'mkdocs>=1.6,<2' 'mkdocs-material>=9.7'
	@touch $@

docs: $(VENV)/docs/.docs ## build the documentation into site/, links checked
	NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/mkdocs build --strict --quiet

# The oracles need torch (CPU) beside the rest: what transformers' own classes hold, keep and peak at. One release of
# torch for tables and oracles alike: with another, every training table is made again.
$(VENV)/.oracle: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) 'peft>=0.21' 'bitsandbytes>=0.50'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps timm $(TORCHVISION) pillow scipy
	@$(BIN)/python -c 'import torchvision' 2>/dev/null || \
	  { echo "torchvision's build is not torch's: left out, as transformers imports neither of them then"; \
	  $(BIN)/python -m pip uninstall --quiet --yes torchvision; }
	@touch $@

oracle: $(VENV)/.oracle ## compare with transformers: parameters, caches, unknown names, inference peaks (30 minutes)
	$(BIN)/python -m tests.oracles.parameters --write
	$(BIN)/python -m tests.oracles.designs --write
	$(BIN)/python -m tests.oracles.designs --tables --write
	$(BIN)/python -m tests.oracles.facts --write
	$(BIN)/python -m tests.oracles.surprises --every 4 --write
	$(BIN)/python -m tests.oracles.caches --write
	$(BIN)/python -m tests.oracles.shuffled --write
	$(BIN)/python -m tests.oracles.inference --out tests/memory/data/inference_peaks.json
	$(BIN)/python -m pytest tests/memory/test_activations.py

# An engine's own code has an environment of its own, a target of its own, and an entry in tests/oracles/table.py (ENGINES).
oracle-engines: oracle-vllm oracle-sglang oracle-llama oracle-mlx oracle-launch ## compare with the serving engines' own code, over every architecture that each names

VLLM ?= 0.33.0
VLLM_VENV := $(VENV)/vllm-$(VLLM)
$(VLLM_VENV)/.vllm: tests/oracles/vllm/requirements-no-deps.txt tests/oracles/vllm/requirements-$(VLLM).txt | $(VENV)/.test
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/oracles/vllm/requirements.txt
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --requirement tests/oracles/vllm/requirements-$(VLLM).txt --requirement tests/oracles/vllm/requirements-no-deps.txt
	@touch $@

oracle-vllm: $(VLLM_VENV)/.vllm ## compare with vLLM's own code on a CPU (Python 3.11, 2 GB; half an hour): make oracle-vllm VLLM=0.24.0
	$(VLLM_VENV)/bin/python tests/oracles/vllm/configs.py $(VLLM_VENV)/configs
	$(VLLM_VENV)/bin/python tests/oracles/vllm/facts.py $(VLLM_VENV)/configs $(VLLM_VENV)/lines.jsonl
	$(BIN)/python -m tests.oracles.engines vllm $(VLLM_VENV)/lines.jsonl --write $(if $(filter 0.33.0,$(VLLM)),,--release $(VLLM))

# SGLang shares vLLM's packages: torch for the CPU, transformers, what both read configs with.
SGLANG ?= 0.5.23
SGLANG_VENV := $(VENV)/sglang-$(SGLANG)
$(SGLANG_VENV)/.sglang: tests/oracles/sglang/requirements-no-deps.txt $(VLLM_VENV)/.vllm
	$(VLLM_VENV)/bin/python -m venv $(SGLANG_VENV)
	$(VLLM_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])' > \
	  $$($(SGLANG_VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/vllm.pth
	$(SGLANG_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps sglang==$(SGLANG) \
	  --requirement tests/oracles/sglang/requirements-no-deps.txt
	@touch $@

oracle-sglang: $(SGLANG_VENV)/.sglang ## compare with SGLang's own code on a CPU (Python 3.11, 0.2 GB beside vLLM's; ten minutes)
	$(SGLANG_VENV)/bin/python tests/oracles/sglang/architectures.py $(SGLANG_VENV)/configs
	$(SGLANG_VENV)/bin/python tests/oracles/sglang/facts.py $(SGLANG_VENV)/configs $(SGLANG_VENV)/lines.jsonl
	$(BIN)/python -m tests.oracles.engines sglang $(SGLANG_VENV)/lines.jsonl --write

# The first wheel has libllama in it, the second the declarations of its functions, the source llama.cpp's converter.
LLAMA_VENV := $(VENV)/llama.cpp
$(LLAMA_VENV)/.llama: $(VENV)/.oracle
	$(PYTHON) -m venv $(LLAMA_VENV)
	$(LLAMA_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  xllamacpp==2026.10.11549 llama-cpp-py-sync==0.11548 cffi numpy pycparser
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
	  --dest $(LLAMA_VENV) llama-cpp-python==0.3.36
	tar xzf $(LLAMA_VENV)/llama_cpp_python-*.tar.gz -C $(LLAMA_VENV)
	@touch $@

oracle-llama: $(LLAMA_VENV)/.llama ## compare with llama.cpp itself: a small GGUF of every architecture (x86-64 Linux; half an hour)
	$(BIN)/python -m tests.oracles.llama.compared $(LLAMA_VENV)/bin/python --write --record tests/memory/data/llama_cpp_archs.json
	$(BIN)/python tests/oracles/llama/converted.py $(LLAMA_VENV)/llama_cpp_python-*/vendor/llama.cpp > $(LLAMA_VENV)/converted.jsonl
	$(BIN)/python -m tests.oracles.llama.compared $(LLAMA_VENV)/bin/python --converted $(LLAMA_VENV)/converted.jsonl --write

$(VENV)/mlx/.mlx: pyproject.toml | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/mlx
	$(VENV)/mlx/bin/python -m pip install --quiet --disable-pip-version-check 'mlx[cpu]' mlx-lm==0.32.2
	@touch $@

oracle-mlx: $(VENV)/mlx/.mlx ## compare with mlx-lm's own classes on a CPU: a small model of every file (ten minutes)
	PYTHONPATH=. $(VENV)/mlx/bin/python -m tests.oracles.mlx_types --write

LAUNCH := $(VENV)/launch
.PHONY: oracle-launch
oracle-launch: $(VLLM_VENV)/.vllm $(SGLANG_VENV)/.sglang $(LLAMA_VENV)/.llama $(VENV)/mlx/.mlx ## what fit --emit writes, read by the engines' own argument parsers; vLLM's buffers for adapters (eight minutes)
	mkdir -p $(LAUNCH)
	$(BIN)/python -m tests.oracles.adapters configs $(LAUNCH)/configs
	$(VLLM_VENV)/bin/python tests/oracles/vllm/lora.py $(LAUNCH)/configs $(LAUNCH)/lora.jsonl
	$(BIN)/python -m tests.oracles.adapters compare $(LAUNCH)/lora.jsonl --write
	$(VLLM_VENV)/bin/python tests/oracles/vllm/drafts.py $(LAUNCH)/configs tests/engines/data/vllm_drafts.json
	$(BIN)/python -m pytest --quiet tests/engines/test_drafts.py
	$(BIN)/python -m tests.oracles.launch samples $(LAUNCH)/samples.jsonl
	$(VLLM_VENV)/bin/python tests/oracles/launch_parsers.py vllm $(LAUNCH)/samples.jsonl $(LAUNCH)/vllm.json
	$(SGLANG_VENV)/bin/python tests/oracles/launch_parsers.py sglang $(LAUNCH)/samples.jsonl $(LAUNCH)/sglang.json
	$(LLAMA_VENV)/bin/python tests/oracles/launch_parsers.py llama-server $(LAUNCH)/samples.jsonl $(LAUNCH)/llama-server.json
	$(VENV)/mlx/bin/python tests/oracles/launch_parsers.py mlx $(LAUNCH)/samples.jsonl $(LAUNCH)/mlx.json
	$(BIN)/python -m tests.oracles.launch compare $(LAUNCH)/samples.jsonl $(LAUNCH)/vllm.json $(LAUNCH)/sglang.json \
	  $(LAUNCH)/llama-server.json $(LAUNCH)/mlx.json --write --options tests/engines/data/launch_options.json

# Their code is read and never run: nothing that they need is installed.
KEYS ?= vllm==$(VLLM) sglang==0.5.23 transformers
$(VENV)/keys/.keys: | $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/keys $(KEYS)
	@touch $@

oracle-keys: $(VENV)/keys/.keys ## compare the config keys that engines read with ours: rm -r .venv/keys; make oracle-keys KEYS="vllm sglang transformers"
	$(BIN)/python -m tests.oracles.config_keys --vllm $(VENV)/keys/vllm --sglang $(VENV)/keys/sglang \
	  --transformers $(VENV)/keys/transformers --write

# DeepSpeed is built without its kernels: ZeRO needs none on the CPU.
$(VENV)/.deepspeed: $(VENV)/.oracle
	$(BIN)/python -m pip install --quiet --disable-pip-version-check setuptools wheel ninja
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation deepspeed==0.19.0
	@touch $@

oracle-zero: $(VENV)/.deepspeed ## measure what DeepSpeed's ZeRO holds on two processes (ten minutes)
	$(BIN)/python -m tests.oracles.training_zero --out tests/memory/training/zero_measured.json
	$(BIN)/python -m pytest --quiet tests/memory/training/test_zero_measured.py

.PHONY: gpu-check
gpu-check: $(VENV)/.oracle ## predictions beside what a GPU holds (docs/gpu.md); without a GPU, small cases on the CPU; ARGS=--dry for no run
	$(BIN)/python -m tests.gpu --write $(ARGS)

# EVERY=8 measures one step of eight, into files of its own.
EVERY ?= 1
MEASURED = $(VENV)/measured-$(EVERY)
oracle-training: $(VENV)/.oracle $(VENV)/.trl $(VENV)/.liger ## measure training steps, images' and TRL's trainers' too, and print the estimate's errors; a stopped run goes on where it was
	$(BIN)/python -m tests.oracles.training --every $(EVERY) --known $(MEASURED)-steps.json --out $(MEASURED)-steps.json
	$(BIN)/python -m tests.oracles.training_images --every $(EVERY) --known $(MEASURED)-images.json --out $(MEASURED)-images.json
	PYTHONPATH=$(VENV)/liger $(BIN)/python -m tests.oracles.training_kernels --known $(MEASURED)-kernels.json --out $(MEASURED)-kernels.json
	PYTHONPATH=$(VENV)/trl-whole $(BIN)/python -m tests.oracles.objectives --every $(EVERY) --out $(MEASURED)-objectives.json
	$(BIN)/python -m tests.oracles.objectives --every $(EVERY) --known $(MEASURED)-objectives.json --out $(MEASURED)-objectives.json
	$(BIN)/python -m tests.oracles.training_all $(MEASURED)-steps.json $(MEASURED)-images.json $(MEASURED)-objectives.json

# Liger's own code, whose Triton kernels are imported and not launched.
$(VENV)/.liger: $(VENV)/.oracle
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/liger 'liger-kernel==0.8.5' triton
	@touch $@

# Two releases of TRL: the newest, whose heads are fused, and the last whose losses are over whole logits. Embedding
# models by sentence-transformers, whose own requirements would bring a torchvision.
$(VENV)/.trl: $(VENV)/.oracle
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'trl==1.16.0' requests scipy scikit-learn
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'sentence-transformers==6.2.0'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/trl-whole 'trl==1.12.0'
	@touch $@

# A training table is made again only if torch or the classes it was made with changed: a stopped run goes on where it was.
$(VENV)/.tables: $(VENV)/.oracle
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'diffusers>=0.42'
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary llama-cpp-python \
	  --dest $(VENV)/wheels llama-cpp-python mlx-lm
	@touch $@

tables: $(VENV)/.tables $(VENV)/.liger ## regenerate inspector/data (but gpus.json and by_hand.json) and fixtures/snapshots; hours; without the engines' minutes where little changed
	$(BIN)/python -m fixtures.make_caches
	$(BIN)/python fixtures/make_configs.py
	$(BIN)/python fixtures/make_ties.py
	$(BIN)/python fixtures/make_classes.py --jobs 2
	$(BIN)/python fixtures/make_buffers.py
	$(BIN)/python fixtures/make_refusals.py
	$(BIN)/python -m fixtures.design_builds --builds $(VENV)/designs.jsonl
	$(BIN)/python -m fixtures.design_trace --builds $(VENV)/designs.jsonl --traces $(VENV)/traces.jsonl
	$(BIN)/python -m fixtures.make_designs --builds $(VENV)/designs.jsonl --traces $(VENV)/traces.jsonl --jobs 2
	$(BIN)/python -m fixtures.make_design_configs
	$(BIN)/python -m fixtures.make_shapes --builds $(VENV)/builds.jsonl
	$(BIN)/python -m fixtures.make_untold --kept $(VENV)/untold.jsonl
	$(BIN)/python -m fixtures.make_digests
	$(BIN)/python -m fixtures.make_vision
	$(BIN)/python -m fixtures.make_gguf $(VENV)/wheels/llama_cpp_python-*.tar.gz
	$(BIN)/python -m fixtures.make_mlx $(VENV)/wheels/mlx_lm-*.whl
	$(BIN)/python fixtures/make_snapshots.py
	PYTHONPATH=$(VENV)/liger $(BIN)/python -m fixtures.make_training
	$(BIN)/python -m fixtures.make_training_vision
	$(BIN)/python -m tests.oracles.training_compiled --write
	$(BIN)/python -m fixtures.make_diffusers
	$(MAKE) tables-engines
	$(BIN)/python -m benchmarks.speed --write
	@$(BIN)/python -m fixtures.what_changed

# Of the serving engines' own code, in the environments of their oracles.
.PHONY: tables-engines
tables-engines: $(VLLM_VENV)/.vllm $(SGLANG_VENV)/.sglang $(LLAMA_VENV)/.llama ## the part of make tables in inspector/data/engines (Python 3.11, 2 GB; an hour)
	$(VLLM_VENV)/bin/python tests/oracles/vllm/configs.py $(VLLM_VENV)/configs
	$(VLLM_VENV)/bin/python tests/oracles/vllm/facts.py $(VLLM_VENV)/configs $(VLLM_VENV)/lines.jsonl
	$(VLLM_VENV)/bin/python fixtures/make_engines.py $(VLLM_VENV)/lines.jsonl
	$(SGLANG_VENV)/bin/python tests/oracles/sglang/architectures.py $(SGLANG_VENV)/configs
	$(SGLANG_VENV)/bin/python tests/oracles/sglang/facts.py $(SGLANG_VENV)/configs $(SGLANG_VENV)/lines.jsonl
	$(SGLANG_VENV)/bin/python fixtures/make_engines_sglang.py $(SGLANG_VENV)/lines.jsonl
	$(BIN)/python -m tests.oracles.llama.rules $(LLAMA_VENV)/bin/python

clean: ## remove what make made
	rm -rf $(VENV) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .fuzz
