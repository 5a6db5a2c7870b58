# The verbs. Each says what it does; all keep what they build in one cache outside the tree.
#
#   make PYTHON=python3.12 ...     another interpreter (default python3, 3.10 or newer)
#   make HIQ_CACHE=/somewhere ...  another cache (it can be deleted at any time)

PYTHON ?= python3
HIQ_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hiq
CARGO_TARGET_DIR ?= $(HIQ_CACHE)/target
export PYTHON HIQ_CACHE CARGO_TARGET_DIR SECONDS ONLY

RUN = $(PYTHON) -B

.PHONY: help demo test integration bench lint wheel fuzz

help:
	@echo 'make demo         traces a small shop and shows what it did (no server needed)'
	@echo 'make test         all tests that need no server'
	@echo 'make integration  against real servers, which it builds (needs Go, Java, Maven)'
	@echo 'make bench        measures, beside the peers (make bench ONLY=S4: one of them)'
	@echo 'make lint         formatting, lints, licences, types'
	@echo 'make wheel        a wheel for this Python, in dist/'
	@echo 'make fuzz         every parser reads what a fuzzer thinks of (make fuzz SECONDS=600 ONLY=conf)'

demo:
	@scripts/preflight.sh rust
	@$(RUN) scripts/demo.py

test:
	@scripts/preflight.sh rust
	@$(RUN) scripts/suites.py

integration:
	@scripts/preflight.sh rust go java
	@$(RUN) scripts/wheel.py
	@$(RUN) integration-tests/run.py --wheel dist/

bench:
	@scripts/preflight.sh rust
	@$(RUN) scripts/wheel.py
	@$(RUN) benches/run.py --wheel dist/ $(if $(ONLY),--only $(ONLY))

lint:
	@scripts/preflight.sh rust lint
	@$(RUN) scripts/lint.py

wheel:
	@scripts/preflight.sh rust
	@$(RUN) scripts/wheel.py

fuzz:
	@scripts/preflight.sh rust
	@$(RUN) scripts/fuzz.py
