# Everything a person or CI does here. Needs Python 3.11 or newer and make; real parts (Kafka, PostgreSQL, ...) are used
# where they are installed. `make` alone prints what there is.

PYTHON ?= python3
PACKAGES := driftline logger_sidecar collector detectors serving alerts dashboards
FAST := not real and not slow and not extras
REAL := (real or slow) and not extras and not built
WHOLE := tests/e2e tests/clients tests/alerts tests/cli tests/dashboards
# What can differ with NumPy 1.26 and pandas 2.2: CONTRIBUTING.md says why the rest cannot.
ARITHMETIC := tests/cli tests/collector tests/contracts tests/detectors tests/floor tests/serving \
  tests/logger_sidecar/test_sink_objects.py
# What runs other code in the compiled build.
NATIVE := tests/logger_sidecar tests/test_compiled.py tests/floor/test_events.py tests/serving/test_body_scanners.py \
  tests/serving/test_body_templates.py tests/collector/test_event_templates.py tests/collector/test_label_scanner.py \
  tests/detectors/test_cells.py tests/detectors/test_count_passes.py

BIN := .venv/bin
READY := .venv/.ready
EXTRAS_BIN := .venv-extras/bin
EXTRAS_READY := .venv-extras/.ready
SPARK_BIN := .venv-spark/bin
SPARK_READY := .venv-spark/.ready
ALIBI_BIN := .venv-alibi/bin
ALIBI_READY := .venv-alibi/.ready
COMPILED_BIN := .venv-compiled/bin
COMPILED_READY := .venv-compiled/.ready

# Where it is set, every test run compiles all tests anew, and every process that a test starts compiles what it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup setup-extras setup-compiled clients check lint types unit unit-sidecar unit-others explore examples real real-whole real-parts real-whole-compiled compiled extras spark alibi loggers seldon seldon2 test fuzz proofs demo demo-full bench constraints clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv, with everything that running and testing needs

setup-extras: $(EXTRAS_READY)  ## make .venv-extras, with alibi-detect, Evidently and JAX beside the rest

setup-compiled: $(COMPILED_READY)  ## make .venv-compiled, with the compiled parts

# Made again only when what is to be installed has changed. pip takes minutes where uv takes seconds; compiled now, because
# the demo starts six processes at once, and each would compile what it imports.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[all,dev]'
	@touch $@

$(EXTRAS_READY): $(READY) constraints-extras.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-extras
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(EXTRAS_BIN)/python -c constraints-extras.txt -e '.[all,dev,alibi,evidently,jax]'
	@touch $@

$(SPARK_READY): $(READY)
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-spark
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(SPARK_BIN)/python -c constraints.txt -e '.[all,dev,spark]'
	@touch $@

# alibi-detect asks for the TensorFlow with a GPU's part; the one without stands in for it.
$(ALIBI_READY): $(READY) constraints-alibi.txt scripts/alibi-overrides.txt
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-alibi
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(ALIBI_BIN)/python -c constraints-alibi.txt \
	  --override scripts/alibi-overrides.txt -e '.[all,dev,alibi-tensorflow]' tensorflow-cpu
	@touch $@

# Not editable: what is compiled is in the wheel.
$(COMPILED_READY): $(READY) scripts/compile_modules.py hatch_build.py $(shell find $(PACKAGES) -name '*.py' -o -name '*.pyx' -o -name '*.px[di]')
	$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv-compiled
	DRIFTLINE_COMPILE=1 $(BIN)/uv pip install --quiet --python $(COMPILED_BIN)/python -c constraints.txt \
	  --reinstall-package driftline '.[all,dev]'
	@touch $@

check: $(READY)  ## lint, types, house rules and unit tests; two to three minutes
	@$(MAKE) --no-print-directory -j 4 -k -O lint types unit-sidecar unit-others

lint: $(READY)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## mypy, strict
	$(BIN)/mypy

unit: $(READY)  ## house rules and unit tests
	@$(MAKE) --no-print-directory -j 2 -k -O unit-sidecar unit-others

# Side by side: the sidecar's tests wait a lot and import little, the others compute and import half a data centre.
unit-sidecar: $(READY)
	$(BIN)/pytest -q -n 2 --dist worksteal -m "$(FAST)" tests/logger_sidecar

unit-others: $(READY)
	$(BIN)/pytest -q -m "$(FAST)" tests --ignore=tests/logger_sidecar

explore: $(READY)  ## the unit tests with each property on 200 new examples, where the others try the same ones each time
	DRIFTLINE_HYPOTHESIS=explore $(BIN)/pytest -q -n 2 --dist worksteal -m "$(FAST)" tests

examples: $(READY)  ## the examples in docstrings
	$(BIN)/pytest -q --doctest-modules --ignore-glob='*/migrations/*' $(PACKAGES)

# Side by side, because most of these tests wait. Whole installations want the default ports, so that there is one at a
# time; each half has a broker and a database of its own.
real: $(READY)  ## the tests that need real parts, and the slow ones
	@$(MAKE) --no-print-directory -j 2 -k -O real-whole real-parts

real-whole: $(READY)
	$(BIN)/pytest -q -m "$(REAL)" $(WHOLE)

real-parts: $(READY)
	$(BIN)/pytest -q -m "$(REAL)" tests $(WHOLE:%=--ignore=%)

# The tests of what is compiled once more, each property on more examples. The installed package stands before the checkout, for
# the processes that tests start, too.
compiled: $(COMPILED_READY)  ## the tests of what is compiled against the compiled build
	PYTHONSAFEPATH=1 PYTHONPATH="$$($(COMPILED_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))'):." \
	  DRIFTLINE_COMPILED=1 DRIFTLINE_HYPOTHESIS=thorough $(COMPILED_BIN)/python -m pytest -q -n 2 --dist worksteal \
	  -m "$(FAST)" -o pythonpath= $(NATIVE)

extras: $(EXTRAS_READY)  ## the tests of arithmetic in the second environment, and those of its adapters
	DRIFTLINE_HYPOTHESIS=thorough $(EXTRAS_BIN)/pytest -q -n 2 --dist worksteal -m "extras or ($(FAST))" $(ARITHMETIC)

# Not part of `make test`: 480 MB and a JVM for one adapter, whose arithmetic is tested without either.
spark: $(SPARK_READY)  ## the adapter of Spark on executors of its own; needs Java, 480 MB once, four minutes
	$(SPARK_BIN)/pytest -q -m extras tests/detectors/test_spark.py

# Not part of `make test`: three gigabytes for four detectors, which take ten CPU-seconds to load.
alibi: $(ALIBI_READY)  ## alibi-detect's detectors that need TensorFlow; 2.8 GB once
	TF_CPP_MIN_LOG_LEVEL=3 $(ALIBI_BIN)/pytest -q -m extras tests/detectors/test_alibi.py

# Not part of `make test`: neither is in a package registry. Maven 3.9.6 and a JDK of 21 or newer (JAVA_HOME).
MVN := mvn -q -B -DskipTests
loggers: $(READY)  ## Knative's Kafka broker and ModelMesh, built from checkouts: make loggers KNATIVE=DIR MODELMESH=DIR; 1 GB once
	cd "$(KNATIVE)/data-plane" && $(MVN) -Drelease -pl receiver-loom,dispatcher-loom -am package
	cd "$(MODELMESH)" && $(MVN) compile dependency:build-classpath -Dmdep.outputFile=target/classpath.txt
	DRIFTLINE_KNATIVE_KAFKA="$(KNATIVE)" DRIFTLINE_MODELMESH="$(MODELMESH)" $(BIN)/pytest -q tests/clients/test_built_loggers.py

# Not part of `make test`: the module proxy refuses Seldon's modules. Up to 1.17.1 under the Apache License; later ones, under
# the Business Source License, may be used as here, which is not production. Two minutes of two cores, once per checkout.
seldon: $(READY)  ## Seldon Core 1's executor, built from a checkout: make seldon SELDON=DIR; needs Go and a C compiler
	ln -sfn ../operator "$(SELDON)/executor/_operator"
	cd "$(SELDON)/executor" && GOFLAGS=-buildvcs=false go build -o driftline-executor ./cmd/executor
	DRIFTLINE_SELDON_EXECUTOR="$(abspath $(SELDON))/executor/driftline-executor" $(BIN)/pytest -q tests/clients/test_seldon_executor.py

seldon2: $(READY)  ## Seldon Core 2's gateways, built from a checkout: make seldon2 SELDON2=DIR; needs Go and a C compiler
	cd "$(SELDON2)/scheduler" && GOFLAGS=-buildvcs=false go build -o driftline/ ./cmd/modelgateway ./cmd/pipelinegateway
	DRIFTLINE_SELDON_GATEWAYS="$(abspath $(SELDON2))/scheduler/driftline" $(BIN)/pytest -q tests/clients/test_seldon_gateways.py

test: setup setup-extras check examples  ## everything, with the real parts that are installed; says which lack
	@$(MAKE) --no-print-directory -j 2 -k -O real-parts real-whole-compiled
	@$(MAKE) --no-print-directory extras

# Whole installations are done a few minutes before the other half, which mostly waits.
real-whole-compiled:
	@$(MAKE) --no-print-directory -j 1 -k real-whole compiled

fuzz: $(READY)  ## a million damaged payloads through the codecs, then Atheris; a quarter of an hour
	$(BIN)/python -m tests.serving.fuzz --payloads 1000000 --seed 1 --processes 2
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.serving.fuzz_atheris 100000

clients: $(READY)  ## the environments of real clients and servers (MLServer, KServe, Triton, ...), loggers in Go, Azurite; 1.4 GB, once
	$(BIN)/python -m tests.clients.environments

proofs: $(READY)  ## exactly once in effect, the long way: 8,000 events, 20 kills, 400 erasures, 500 orders of labels
	DRIFTLINE_PROOF_EVENTS=8000 DRIFTLINE_PROOF_KILLS=20 $(BIN)/pytest -q -s tests/collector/test_exactly_once.py
	DRIFTLINE_PROOF_ORDERS=500 $(BIN)/pytest -q tests/collector/test_label_machine.py

demo: $(READY)  ## the whole path on this machine, in two minutes
	$(BIN)/driftline demo

demo-full: $(READY)  ## the same against real Kafka, PostgreSQL, Prometheus and Alertmanager
	$(BIN)/python -m tests.parts.demo_full

bench: $(READY) $(COMPILED_READY)  ## run every benchmark, write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run_all --compiled $(COMPILED_BIN)/python

COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --no-emit-index-url --no-header --no-annotate --python-version 3.11

constraints: $(READY)  ## newest versions into both constraints files
	$(COMPILE) --extra all --extra dev --extra fuzz --extra spark pyproject.toml -o constraints.txt
	$(COMPILE) --extra all --extra dev --extra fuzz --extra alibi --extra evidently --extra jax pyproject.toml -o constraints-extras.txt
	echo 'tensorflow-cpu>=2.16,<2.19' | $(COMPILE) --extra all --extra dev --extra alibi-tensorflow \
	  --override scripts/alibi-overrides.txt pyproject.toml - -o constraints-alibi.txt

clean:  ## remove environments and caches
	rm -rf .venv .venv-extras .venv-compiled .venv-spark .venv-alibi .driftline build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
