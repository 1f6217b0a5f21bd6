# Every target sets up what is missing first, and may be interrupted and repeated.

# Set-up turns LIBTORCH or LIBTORCH_USE_PYTORCH into the link `.libtorch`; cargo then knows libtorch by that name alone,
# so that tests and notebooks share one build.
CARGO := env -u LIBTORCH -u LIBTORCH_USE_PYTORCH cargo
PYTHON ?= python3

.PHONY: help run test lab notebooks bench clean
.NOTPARALLEL:

help:
	@echo "make run        train and attribute on real data: the first notebook, executed"
	@echo "make test       format, lints, tests, documentation"
	@echo "make lab        JupyterLab on the notebooks"
	@echo "make notebooks  execute all notebooks, refresh their stored outputs"
	@echo "make bench      measure speed; the tables go to target/bench"
	@echo "make clean      remove what was built here; the user's cache stays"

run:
	@$(PYTHON) scripts/setup notebooks
	@$(PYTHON) scripts/notebooks --to target/notebooks 01
	@echo "Open target/notebooks/01-first-attribution.html in a browser, or change the notebook with: make lab"

test:
	@$(PYTHON) scripts/setup tests
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --no-deps
	@$(PYTHON) scripts/check

lab:
	@$(PYTHON) scripts/setup notebooks
	.venv/bin/jupyter lab --notebook-dir=notebooks

notebooks:
	@$(PYTHON) scripts/setup notebooks
	@$(PYTHON) scripts/notebooks --times

bench:
	@$(PYTHON) scripts/setup notebooks
	$(CARGO) bench --locked --profile dev --bench compare # what a notebook runs, with no second build of the dependencies
	$(CARGO) bench --locked --profile dev --bench projection
	$(CARGO) bench --locked --profile dev --bench retrain
	$(CARGO) bench --locked --profile dev --bench posterior
	$(CARGO) bench --locked --profile dev --bench own_model
	ASCRIBE_BENCH=1 $(CARGO) test --locked --test suite -- --ignored plan::seconds_and_memory # what a plan says, within a factor of two
	@$(PYTHON) scripts/notebooks --to target/bench --csv target/bench/notebook.csv 01

clean:
	rm -rf target .venv
