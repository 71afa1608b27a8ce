# Everything a developer types. Each target does its own set-up (.ci/setup): Debian packages
# through root or sudo, a virtual environment, pinned Python packages. Engines and workload images
# are built by the harness when they are first needed, into the user's cache.
#
#   make scenarios              run the scenarios; ARGS are pytest's and the harness's
#   make scenarios ARGS='--engine oldest -k failover'

ARGS ?=
BIN := .venv/bin

# Integration tests need real nodes, and those need root. Tests run in two processes, by lanes
# (tests/helpers/lanes.py); ARGS='-n 0 --pdb' and the like is one process, and live.
ifeq ($(shell id -u),0)
TESTS := -n 2 tests
else
TESTS := -n 2 tests -m 'not integration'
endif

.PHONY: help setup scenarios test unit lint format types doctor reference browser site release image box screenshots constraints clean distclean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make scenarios    break a swarm and measure it; ARGS='--engine oldest' and so on
scenarios: setup
	$(BIN)/swarm-chaos run $(ARGS)

## make test         the harness's own tests (integration tests as root)
test: setup
	$(BIN)/pytest $(TESTS) $(ARGS)

## make unit         the quick ones only: no root, no network
unit: setup
	$(BIN)/pytest -n 2 tests/unit $(ARGS)

## make lint         ruff: rules and format
lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

## make format       let ruff put it right
format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make types        mypy, strict
types: setup
	$(BIN)/mypy

## make doctor       what this machine can do
doctor: setup
	$(BIN)/swarm-chaos doctor $(ARGS)

## make reference    write the pages of docs/ that are made from the code
reference: setup
	$(BIN)/python -m harness.docgen

## make browser      chromium, for the tests of the report's pages (0.3 GB)
browser:
	@.ci/browser

## make screenshots  pictures of the report for the documents (needs chromium); ARGS=TRIAL for a real one
screenshots: setup
	$(BIN)/python tests/helpers/screenshots.py $(ARGS)

## make site         the documentation as a site, in build/site (mkdocs, strict)
site: setup
	@$(BIN)/python -c 'import mkdocs' 2>/dev/null || $(BIN)/python -m pip install -q \
		--disable-pip-version-check --only-binary=:all: -c constraints.txt -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict
	@echo "site: build/site/index.html"

## make release      wheel and source archive in build/release, checked; ARGS=--dirty to try it
release: setup
	@.ci/release $(ARGS)

## make image        the OCI image of that wheel (needs umoci and skopeo)
image: setup
	@$(BIN)/python .ci/image.py build/release/*.whl $(ARGS)

## make box          a box for the vagrant lab, in build/vagrant (needs qemu-utils); ARGS='--suite trixie'
box: setup
	@$(BIN)/python vagrant/box.py $(ARGS)

## make setup        only the set-up
setup:
	@.ci/setup

## make constraints  pin the versions that are installed now
constraints: setup
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable; } > constraints.txt.part
	@mv constraints.txt.part constraints.txt

## make clean        what a power cut could leave, and the tools' own caches
clean:
	@if [ -x $(BIN)/swarm-chaos ]; then $(BIN)/swarm-chaos clean; fi
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build

## make distclean    and the virtual environment
distclean: clean
	rm -rf .venv *.egg-info
