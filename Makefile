PYTHON ?= python3
VENV ?= .venv
DOORS ?= .venv-doors
PHOTO ?= docs/sample.png
SENTENCES ?= "the bottommost object" "the large pink circle below the cyan circle" "the thing left of the pink star"
OUTPUT ?= demo_masks

export OMP_NUM_THREADS ?= 1
SETTINGS := setup.cfg pyproject.toml constraints.txt
INSTALL = $(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install -qq --constraint constraints.txt --editable

PYTEST = $(VENV)/bin/pytest --numprocesses 2 --dist worksteal
# Tests of what loads a checkpoint in the default precision.
DEFAULT_PRECISION = tests/cli tests/demo tests/inference tests/segment_dataset tests/segment_video tests/test_docs.py

.PHONY: demo test fuzz test-bfloat16 test-doors test-slow docs style clean

demo: $(VENV)/demo.stamp
	$(VENV)/bin/evf-sam segment $(PHOTO) $(SENTENCES) --output $(OUTPUT)
	@echo "The picture: $(abspath $(OUTPUT))/overlay.png"

test: export EVF_SAM_DTYPE ?= float32
test: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PYTEST)

test-bfloat16: export EVF_SAM_DTYPE = bfloat16
test-bfloat16: $(VENV)/test.stamp
	$(PYTEST) $(DEFAULT_PRECISION)

fuzz: export EVF_SAM_FUZZ_EXAMPLES ?= 2500
fuzz: $(VENV)/test.stamp
	$(PYTEST) tests/fuzzing

# Label tools that cannot be installed beside each other's servers and pages: an environment of their own.
test-doors: $(DOORS)/test.stamp
	$(DOORS)/bin/pytest --numprocesses 2 tests/integrations tests/annotations

test-slow: $(VENV)/test.stamp
	$(VENV)/bin/pytest -m slow

docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --site-dir build/site
	$(VENV)/bin/evf-sam export build/site/page --format web  # which docs/try.md shows
	@echo "The pages: $(abspath build/site)/index.html"

style: $(VENV)/test.stamp
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) $(DOORS) $(OUTPUT) build

$(VENV)/demo.stamp: $(SETTINGS)
	$(INSTALL) .
	touch $@

$(VENV)/test.stamp: $(SETTINGS)
	$(INSTALL) '.[dev]'
	touch $@

$(VENV)/docs.stamp: $(SETTINGS)
	$(INSTALL) '.[docs]'
	touch $@

$(DOORS)/test.stamp: setup.cfg pyproject.toml constraints-doors.txt
	$(PYTHON) -m venv $(DOORS)
	$(DOORS)/bin/pip install -qq --constraint constraints-doors.txt --editable '.[doors]'
	touch $@
