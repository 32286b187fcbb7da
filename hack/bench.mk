# Measures speed and size: docs/performance.md. All of it takes an hour with the real kind, on a machine that does nothing else.
#
#   make bench PARTS="scale latency"           some parts: overhead together parallel creation scale steady latency core
#                                              takeover peers workers engines
#   make bench ARGS="--sizes '10 100'"         other sizes; `python -m bench run --help` shows all options
#   make bench-compare BASE=out/bench/old.json  the last run against an older one

##@ Measure

.PHONY: bench
bench: venv tools $(BIN)/capd $(VENV)/.bench ## Measure speed and size (an hour); parts in PARTS, options in ARGS
	python -m bench run $(if $(PARTS),--parts "$(PARTS)") $(ARGS)

.PHONY: bench-compare
bench-compare: venv ## Compare the last run of bench with an older one: BASE=<json>
	@test -n "$(BASE)" || { echo "Which run? make bench-compare BASE=out/bench/<older>.json"; exit 1; }
	python -m bench compare $(BASE)

.PHONY: bench-figures
bench-figures: venv $(VENV)/.bench ## Write docs/performance/ from the last run of bench
	python -m bench figures

$(VENV)/.bench: requirements/bench.txt $(VENV)/.installed
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@
