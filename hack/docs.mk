# The documentation site, and the recorded session of README. Included by the Makefile.

SITE = NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict --site-dir $(CURDIR)/out/site

##@ Document

.PHONY: site
site: venv $(VENV)/.docs ## Build the documentation site into out/site; a broken link is an error
	@$(SITE)

.PHONY: site-serve
site-serve: venv $(VENV)/.docs ## Show the documentation site in a browser, and build it again at each saved file
	NO_MKDOCS_2_WARNING=1 mkdocs serve --strict

.PHONY: recording
recording: venv tools-test $(BIN)/clusterctl ## Record the terminal session that README shows (runs the quickstart)
	python -m hack.record

$(VENV)/.docs: requirements/docs.txt $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/docs.txt
	@touch $@
