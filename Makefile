PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: install quickstart check test test-slow docs tools clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt scripts/install_torchvision_hook.py
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	DS_BUILD_OPS=0 $(VENV)/bin/pip install --quiet -c constraints.txt -e '.[dicom,fhir,eval,deepspeed,test]'
	$(VENV)/bin/python scripts/install_torchvision_hook.py
	touch $(STAMP)

quickstart: $(STAMP)
	$(VENV)/bin/medcodi quickstart

# the formatter, the linter, and the types of the contracts (pyproject.toml says which)
check: $(STAMP)
	$(VENV)/bin/ruff format --check --quiet .
	$(VENV)/bin/ruff check --quiet .
	$(VENV)/bin/mypy

test: $(STAMP) tools
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile --durations 10 -m "not slow and not gpu and not nightly"

test-slow: $(STAMP) tools
	$(VENV)/bin/python -m pytest -m "slow and not gpu and not nightly"

# the site, below build/site; a broken link is an error
docs: $(STAMP)
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[docs]'
	$(VENV)/bin/mkdocs build --strict --quiet

# dicom3tools and dcmtk check the DICOM files that the tests write; where they cannot be installed, those tests skip and say so
tools:
	@{ command -v dciodvfy && command -v dsr2xml; } >/dev/null 2>&1 || { test "$$(id -u)" = 0 && command -v apt-get \
	&& timeout 120 apt-get -qq update && timeout 300 apt-get -qq install --no-install-recommends dicom3tools dcmtk; } \
	>/dev/null 2>&1 || echo "dicom3tools and dcmtk are not installed: their tests skip (apt-get install dicom3tools dcmtk)"

clean:
	rm -rf $(VENV) runs results
