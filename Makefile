# Every target but `tune`, `lock` and `clean` depends on `setup`, which does nothing once its stamp is up to date.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
RUNS := .venv/.runs
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
RESNET50 = $(shell $(BIN)/python -c "import importlib.util as u; print(*u.find_spec('onnx').submodule_search_locations)")/backend/test/data/light/light_resnet50.onnx

# Some machines export this; it halves the speed of numpy's matrix product.
unexport OPENBLAS_CORETYPE

.PHONY: setup tune host libraries test lint docs bench bench-peers kernel-tuner strangers search-peers machine-models tvm \
    campaign differential planted law host-campaign fuzz fuzz-parsers kills bank bank-check sharing sbom licences lock clean

setup: $(READY)

# --no-deps: the lock is complete, but for a GPU library of 469 MB that xgboost asks for and a CPU never loads.
# `tune` needs half of it: no tests, no docs, no tracker.
$(RUNS): requirements.lock pyproject.toml deploy/lock_part.py
	$(PYTHON) -c "import sys; assert sys.version_info >= (3, 11), 'Tilewright needs Python 3.11 or newer; set PYTHON='"
	$(PYTHON) -m venv .venv
	$(PYTHON) deploy/lock_part.py > .venv/part.lock
	$(INSTALL) --require-hashes -r .venv/part.lock
	$(INSTALL) --no-build-isolation --editable .
	$(BIN)/tune warm
	touch $@

$(READY): $(RUNS)
	$(INSTALL) --require-hashes -r requirements.lock
	touch $@

tune: $(RUNS)
	$(BIN)/tune run "$(RESNET50)" --target ascend910 --trials 512

test: lint
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The docs as a site in build/docs, to be opened as files; a warning is an error.
docs: setup
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "open build/docs/index.html"

bench: setup
	$(BIN)/tune bench models --quick

# Random networks as libraries, beside their kernels run one by one: make libraries NETWORKS=500
NETWORKS ?= 500
libraries: setup
	LIBRARY_CASES=$(NETWORKS) $(BIN)/pytest --hypothesis-profile=fuzz --timeout=0 tests/property/test_library_law.py

# SqueezeNet tuned on this CPU, built as a native library, and run beside onnxruntime.
host: setup
	$(BIN)/tune bench host --networks squeezenet --quick

# A peer of the search bench that wants versions of its own; without it the bench leaves its strategies out.
kernel-tuner:
	$(PYTHON) -m venv .venv-kernel-tuner
	.venv-kernel-tuner/bin/python -m pip install --quiet --disable-pip-version-check "kernel-tuner==1.5.0"

# Tools of others that the search bench asks for mappings, each in an environment of its own; their answers are
# recorded, so that only `tune bench search --device vela --record` needs them.
strangers: build/vela/.ready build/zigzag/.ready

# SMAC3 and pyATF beside our search on recorded tables.
search-peers: build/search-peers/.ready

build/%/.ready:
	$(PYTHON) -m venv build/$*
	build/$*/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGES_$*)
	touch $@

PACKAGES_search-peers = smac==2.4.1 pyatf==0.0.13
PACKAGES_vela = ethos-u-vela==5.2.0
# Models of a core's ports, which `tune bench ports` shows our machine code.
machine-models: build/osaca/.ready

# TVM's MetaSchedule, which `tune bench metaschedule` races on this CPU; a newer tvm-ffi ends on writing JSON.
tvm: build/tvm/.ready

PACKAGES_osaca = osaca==0.7.1
PACKAGES_tvm = apache-tvm==0.27.0 apache-tvm-ffi==0.1.14.post0 xgboost==3.2.0 psutil==7.2.2 cloudpickle onnx
PACKAGES_zigzag = zigzag-dse==3.9.1 six==1.17.0

# SCALE-Sim and ZigZag beside our simulator, in an environment of their own: make bench-peers REFERENCE=DIR
bench-peers: setup build/peers/.ready
	$(BIN)/tune bench simulator --reference "$(REFERENCE)" --peers build/peers/bin/python

build/peers/.ready:
	$(PYTHON) -m venv build/peers
	build/peers/bin/python -m pip install --quiet --disable-pip-version-check \
	    scalesim==2.0.2 zigzag-dse==3.9.1 six==1.17.0
	touch $@

campaign: setup
	$(BIN)/pytest -m campaign --timeout=0

# Random models of the standard's operators beside onnxruntime and the reference: make differential SEED=7
CASES ?= 20000
SEED ?= 0
differential: setup
	$(BIN)/python -m tests.differential.standard.campaign --cases $(CASES) --seed $(SEED)

# The law of three legs over new cases: make law CASES=3000 SEED=7
law: setup
	LAW_CASES=$(CASES) $(BIN)/pytest --hypothesis-profile=fuzz --hypothesis-seed=$(SEED) --timeout=0 \
	    tests/property/test_native_law.py

# Kernels on this CPU of which most crash, hang or lie.
host-campaign: setup
	CANDIDATES=1000 $(BIN)/pytest --timeout=0 tests/measure/host/test_campaign.py

# Planted wrong kernels, each to be refused, and right ones, none of which may be: make planted KERNELS=5000
KERNELS ?= 500
planted: setup
	$(BIN)/python -m tests.robust.planted --kernels $(KERNELS) --seed $(SEED)

fuzz: setup fuzz-parsers
	$(BIN)/pytest --hypothesis-profile=fuzz --timeout=0 tests/property

# Every parser, guided by coverage, an hour each; what is found is written to build/fuzz, where corpora stay.
FUZZ_S ?= 3600
fuzz-parsers: setup build/fuzz/.ready
	for kind in models targets specs t1 t4 records; do mkdir -p build/fuzz/$$kind; \
	    PYTHONPATH=.:build/fuzz/lib $(BIN)/python -m tests.robust.fuzz $$kind -max_total_time=$(FUZZ_S) \
	    -artifact_prefix=build/fuzz/found-$$kind- build/fuzz/$$kind || exit 1; done

build/fuzz/.ready:
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/fuzz/lib atheris==3.0.0
	touch $@

# Kills at random moments, and the records of what was killed beside those of undisturbed work.
KILLS ?= 60
kills: setup
	for kind in run runner serve; do $(BIN)/python -m tests.e2e.kills $$kind $(KILLS) || exit 1; done

# Keeps the pins that are there; `make lock UPGRADE=--upgrade` moves them all.
lock:
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet pip-tools==7.6.2
	CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/pip-compile --quiet --extra dev --extra docs --extra mlflow --build-deps-for editable \
	    --generate-hashes --strip-extras --no-emit-options --no-emit-index-url --no-emit-find-links \
	    --no-emit-trusted-host --unsafe-package nvidia-nccl-cu12 $(UPGRADE) --output-file requirements.lock pyproject.toml
	sed -i '/^# WARNING/,$$d' requirements.lock

# The bank that ships with the package: every network of the onnx package on every preset, an hour or more each way.
# A fill that was cut off goes on: `make bank BANK_ARGUMENTS="--networks resnet50 --targets ascend910 --minutes 30"`.
bank: setup
	TILEWRIGHT_LAYERS=none $(BIN)/python -m benchmarks.bank fill $(BANK_ARGUMENTS)

# Every record of it measured and judged again, as a stranger's: `make bank-check BANK_ARGUMENTS="--share 0.05"`.
bank-check: setup
	$(BIN)/python -m benchmarks.bank check $(BANK_ARGUMENTS)

# 10,000 forged signatures, of which none may count, and 10,000 merges with signatures in any order.
sharing: setup
	$(BIN)/pytest -m campaign --timeout=0 tests/db/test_sharing.py

# What is installed, for those who have to know: a bill of materials (CycloneDX), and licences.
build/supply/.ready:
	$(PYTHON) -m venv build/supply
	build/supply/bin/python -m pip install --quiet --disable-pip-version-check \
	    cyclonedx-bom==7.5.0 pip-licenses==5.5.5
	touch $@

sbom: setup build/supply/.ready
	build/supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-format JSON --output-file build/sbom.cdx.json $(BIN)/python

licences: setup build/supply/.ready
	build/supply/bin/pip-licenses --python $(BIN)/python --format markdown --with-urls --order license \
	    --output-file build/licences.md

clean:
	rm -rf .venv .venv-kernel-tuner build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
