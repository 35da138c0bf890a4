PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: install quickstart test test-slow clean

install: $(STAMP)

$(STAMP): setup.py constraints.txt scripts/install_torchvision_hook.py
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	DS_BUILD_OPS=0 $(VENV)/bin/pip install --quiet -c constraints.txt -e '.[dicom,eval,deepspeed,test]'
	$(VENV)/bin/python scripts/install_torchvision_hook.py
	touch $(STAMP)

quickstart: $(STAMP)
	$(VENV)/bin/medcodi quickstart

test: $(STAMP)
	$(VENV)/bin/python -m pytest -m "not slow and not gpu"

test-slow: $(STAMP)
	$(VENV)/bin/python -m pytest -m "slow and not gpu"

clean:
	rm -rf $(VENV) runs results
